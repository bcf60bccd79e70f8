"""What jobs with a model request: more with every attempt, and no more than the cluster has."""

from dataclasses import dataclass, field

import polars as pl
import pytest

from support.paths import TINY_LLAVA
from vlmflow.jobs import requests
from vlmflow.jobs.requests import ResourceRequests
from vlmflow.probes import LensProbe, PruningProbe, StatesProbe
from vlmflow.study import Model


@dataclass
class Call:
    """As much of a call of Snakemake as requests read."""

    is_local: bool = False
    defaults: dict = field(default_factory=dict)

    def default_resource(self, name):
        return self.defaults.get(name)


TASKS = ["T", "U"]


def model(**settings):
    return Model.model_validate({"path": str(TINY_LLAVA)} | settings)


@pytest.fixture
def question_tables(tmp_path):
    """Tables of 100,000 answers and of a sample of 50,000, a third of each about another task."""
    paths = {}
    for name, rows in (("answers", 100_000), ("selected", 50_000)):
        paths[name] = str(tmp_path / f"{name}.parquet")
        tasks = pl.Series(TASKS).gather([0 if number % 3 else 1 for number in range(rows)])
        pl.DataFrame({"task": tasks, "question_id": range(rows)}).write_parquet(paths[name])
    return paths


def inputs(answers, selected):
    """The tables that a probe's job reads; there is one of answers per shard."""
    return {"answers": [answers], "selected": selected}


def test_amounts_grow_with_the_attempt_up_to_the_clusters_maximum(question_tables):
    free, limited = (
        ResourceRequests(Call()),
        ResourceRequests(Call(defaults={"most_mem_mb": "900", "most_runtime": "7"})),
    )
    assert 2 * free.memory(model(), 1) == free.memory(model(), 2) > 900
    assert limited.memory(model(), 1) == limited.memory(model(), 2) == 900
    minutes = [free.answering(model(), question_tables["answers"], attempt) for attempt in (1, 2)]
    assert 2 * minutes[0] == minutes[1] > 7
    assert limited.answering(model(), question_tables["answers"], 1) == 7
    assert free.answering(model(shards=4), question_tables["answers"], 1) < minutes[0]
    assert free.answering(model(), [*question_tables.values()], 1) > minutes[0], "of all tasks"
    loading = [free.loading(model(), attempt) for attempt in (1, 2)]
    assert 2 * loading[0] == loading[1] < 2 * minutes[0]
    assert limited.loading(model(), 1) == 7


def test_a_probe_requests_resources_for_the_questions_that_it_measures(question_tables):
    free = ResourceRequests(Call())
    sampled, everything = LensProbe(kind="lens"), PruningProbe(kind="pruning", layers_dropped=[0])
    few = LensProbe(kind="lens", questions=10)
    tables = inputs(**question_tables)
    times = [free.probing(model(), probe, TASKS, **tables, attempt=1) for probe in (few, sampled, everything)]
    assert times == sorted(set(times))
    swapped = inputs(answers=question_tables["selected"], selected=question_tables["answers"])
    assert free.probing(model(), sampled, TASKS, **swapped, attempt=1) > times[1]
    assert free.probing(model(shards=4), sampled, TASKS, **tables, attempt=1) < times[1]
    assert free.probing(model(), sampled, TASKS[1:], **tables, attempt=1) < times[1], "one task of two"
    shards = tables | {"answers": 2 * tables["answers"]}
    assert free.probing(model(), everything, TASKS, **shards, attempt=1) > times[2], "the answers of all shards"


def test_what_is_measured_on_some_questions_per_task_is_requested_for_each_task(question_tables):
    """One task has twice as many questions as the other, and as many of each are timed."""
    free, tables = ResourceRequests(Call()), inputs(**question_tables)
    timed = PruningProbe(kind="pruning", layers_dropped=[0], timed=10_000)
    apart = sum(free.probing(model(), timed, [task], **tables, attempt=1) for task in TASKS)
    assert free.probing(model(), timed, TASKS, **tables, attempt=1) == pytest.approx(apart, rel=0.01)


def test_rows_that_hold_much_take_memory_and_time(question_tables):
    """All states of an image for 50,000 questions; of other probes, the memory is the model's alone."""
    free, tables = ResourceRequests(Call()), inputs(**question_tables)
    every = StatesProbe(kind="states", segments=["image"], tokens="all", answers="correct")
    held = [free.probing_memory(model(shards=shards), every, TASKS, **tables, attempt=1) for shards in (1, 2)]
    alone = free.memory(model(), 1)
    numbers = 50_000 * 11 * 36 * 128
    assert 2 * 4 * numbers / 1e6 < held[0] - alone < 3 * 4 * numbers / 1e6
    assert held[1] - alone == pytest.approx((held[0] - alone) / 2, rel=0.01)
    assert free.probing_memory(model(), LensProbe(kind="lens"), TASKS, **tables, attempt=1) == alone
    means = StatesProbe(kind="states", segments=["image"], answers="correct")
    minutes = [free.probing(model(), probe, TASKS, **tables, attempt=1) for probe in (means, every)]
    assert minutes[1] > minutes[0]
    with pytest.raises(FileNotFoundError):
        free.probing_memory(model(), every, TASKS, **tables | {"selected": "none.parquet"}, attempt=1)


def test_a_table_that_does_not_exist_yet_is_left_to_snakemake(tmp_path):
    with pytest.raises(FileNotFoundError):
        ResourceRequests(Call()).answering(model(), str(tmp_path / "none.parquet"), 1)
    absent = inputs(*[str(tmp_path / "none.parquet")] * 2)
    for probe in (LensProbe(kind="lens"), PruningProbe(kind="pruning", layers_dropped=[0])):
        with pytest.raises(FileNotFoundError):
            ResourceRequests(Call()).probing(model(), probe, TASKS, **absent, attempt=1)


@pytest.mark.parametrize(
    ("local", "cards", "gpus", "requested"),
    [(True, [], 1, 0), (True, ["a"], 1, 1), (True, [], 2, 2), (False, [], 1, 1), (False, [], 0, 0)],
)
def test_a_machine_without_cards_requests_none(monkeypatch, local, cards, gpus, requested):
    monkeypatch.setattr(requests, "find_gpus", lambda: cards)
    assert ResourceRequests(Call(is_local=local)).gpus(model(gpus=gpus)) == requested


def test_jobs_with_and_without_cards_have_partitions_of_their_own():
    cluster = ResourceRequests(Call(defaults={"slurm_partition": "cpu", "gpu_partition": "gpu", "gpu_type": "a100"}))
    assert (cluster.partition(model(gpus=2)), cluster.gpu_type(model(gpus=2))) == ("gpu", "a100")
    assert (cluster.partition(model(gpus=0)), cluster.gpu_type(model(gpus=0))) == ("cpu", None)
    assert ResourceRequests(Call(defaults={"slurm_partition": "all"})).partition(model(gpus=1)) == "all"
