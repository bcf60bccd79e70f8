"""What a study cost: benchmark files as Snakemake writes them, and the table and section of the report made of them."""

import json

import pytest

from vlmflow.jobs import cost_note
from vlmflow.probes import PROBES
from vlmflow.report.cost import Job, Note, cost_rows, in_report, read_benchmark, read_note
from vlmflow.tables import ANSWERS

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
ONE = "3600.5\t1:00:00\t492.3\t2107.0\t379.5\t421.1\t0.0\t0.05\t32.2\t5000.0\n"
SHORT = "0.02\t0:00:00\tNA\tNA\t-\t-\tNA\tNA\t0.00\tNA\n"


def note_cost(log, **note):
    log.with_suffix(".cost.json").write_text(json.dumps(note))


@pytest.fixture
def job(tmp_path):
    """A job with its files: what its benchmark file holds, how many questions and GPUs its note tells of."""

    def make(model, step, questions, benchmark, **noted):
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        made = Job(model, step, place.with_suffix(".tsv"), place.with_suffix(".log"))
        if benchmark is not None:
            made.benchmark.write_text(benchmark)
        note_cost(made.log, measured=questions, **noted)
        return made

    return make


def test_a_benchmark_of_one_run_is_read(job):
    spent = read_benchmark(job("m", "answers", 1, HEADER + ONE).benchmark)
    assert (spent.seconds, spent.cpu_seconds, spent.memory) == (3600.5, 5000.0, 492.3)


def test_a_repeated_benchmark_is_the_sum_of_its_runs(job):
    spent = read_benchmark(job("m", "answers", 1, HEADER + ONE + ONE + SHORT).benchmark)
    assert (spent.seconds, spent.cpu_seconds, spent.memory) == (7201.02, 10000.0, 492.3)


def test_an_unmeasured_cost_is_unknown_not_zero(job):
    spent = read_benchmark(job("m", "answers", 1, HEADER + SHORT).benchmark)
    assert (spent.seconds, spent.cpu_seconds, spent.memory) == (0.02, None, None)


@pytest.mark.parametrize("content", [None, "", HEADER, "max_rss\n12\n", HEADER + "NA\tNA\n"])
def test_without_a_time_there_is_no_measurement(job, content):
    assert read_benchmark(job("m", "answers", 1, content).benchmark) is None


def test_gpus_and_questions_of_a_job_are_noted_beside_its_log(tmp_path):
    assert read_note(tmp_path / "job.log") == Note(0, 0, 0, 0), "no note: no GPU, no question"
    note_cost(tmp_path / "job.log", gpus=2)
    assert read_note(tmp_path / "job.log") == Note(gpus=2)
    note_cost(tmp_path / "job.log", gpus=1, waited=12.5, measured=3, kept=4)
    assert read_note(tmp_path / "job.log") == Note(gpus=1, waited=12.5, measured=3, kept=4)


def test_the_note_of_a_job_is_the_one_that_is_read(tmp_path, monkeypatch):
    """A job that measured nothing and leased no GPU leaves no note of an earlier one."""
    monkeypatch.setattr(cost_note, "_QUESTIONS", {})
    monkeypatch.setattr(cost_note, "held_gpus", dict)
    cost_note.count_questions(measured=3, kept=4)
    cost_note.write_cost_note(tmp_path / "job.log")
    assert read_note(tmp_path / "job.log") == Note(measured=3, kept=4)
    monkeypatch.setattr(cost_note, "_QUESTIONS", {})
    cost_note.write_cost_note(tmp_path / "job.log")
    assert list(tmp_path.iterdir()) == []


def test_hours_of_each_model_and_step(job):
    """Hand-made: three shards on one card each, one of them without a time; and a job on two cards."""
    rows = cost_rows(
        [
            job("small", "table t", 10, HEADER + ONE, gpus=1, kept=1),
            job("small", "table t", 10, HEADER + ONE, gpus=1, kept=3),
            job("small", "table t", 10, None, gpus=1),
            job("large", "flow", 7, HEADER + ONE.replace("492.3", "9000.0"), gpus=2),
            job("large", "flow", 0, HEADER + SHORT),
            job("large", "lens", 5, None),
        ]
    )
    hour = 3600.5 / 3600
    assert rows.select("model", "step", "jobs", "unmeasured", "questions", "kept", "gpus").rows() == [
        ("small", "table t", 2, 1, 20, 4, 1),
        ("large", "flow", 2, 0, 7, 0, 2),
        ("large", "lens", 0, 1, 0, 0, 0),
    ]
    assert rows["hours"].to_list() == pytest.approx([2 * hour, hour + 0.02 / 3600, 0])
    assert rows["gpu_hours"].to_list() == pytest.approx([2 * hour, 2 * hour, 0])
    assert rows["cpu_hours"].to_list() == pytest.approx([10000 / 3600, 5000 / 3600, None])
    assert rows["memory"].to_list() == [492.3, 9000.0, None]


def test_time_spent_waiting_for_a_card_is_not_counted(job):
    made = job("m", "flow", 2, HEADER + ONE.replace("3600.5", "7200"), gpus=2)
    note_cost(made.log, gpus=2, waited=3600)
    (row,) = cost_rows([made]).to_dicts()
    assert (row["hours"], row["gpus"], row["gpu_hours"]) == (2, 2, 2)


def test_the_page_shows_the_cost(job):
    shown = in_report(
        cost_rows(
            [job("m", "flow", 10, HEADER + ONE, gpus=2, kept=1234), job("m", "lens", 5, None), job("m", "old", 4, None)]
        )
    )
    assert shown["unmeasured"] == 2
    first, unknown, _ = shown["rows"]
    assert first | {} == {
        "model": "m",
        "step": "flow",
        "jobs": "1",
        "questions": "10",
        "kept": "1,234",
        "gpus": "2",
        "hours": "1.00",
        "gpu_hours": "2.00",
        "cpu_hours": "1.39",
        "memory": "0.5",
        "per_question": "360.1",
    }
    assert {unknown[name] for name in ("hours", "gpu_hours", "cpu_hours", "gpus", "memory", "per_question")} == {"–"}
    assert (shown["total"]["gpu_hours"], shown["total"]["kept"]) == ("2.00", "1,234")


def test_a_processor_costs_no_gpu_hours(job):
    row = in_report(cost_rows([job("m", "flow", 10, HEADER + SHORT)]))["rows"][0]
    assert (row["gpu_hours"], row["gpus"], row["hours"]) == ("0", "0", "5.6e-06")


def test_a_study_without_jobs_has_no_cost(job):
    assert in_report(cost_rows([])) == {"rows": [], "total": None, "unmeasured": 0}


def test_every_table_of_measurements_has_tasks_and_question_ids():
    assert all({"task", "question_id"} <= set(probe.table.columns) for probe in PROBES)
    assert {"task", "question_id"} <= set(ANSWERS.columns)
