"""A job measures what the store lacks, and nothing twice; shards change no number."""

import contextlib
import json

import polars as pl
import pytest
from pydantic import TypeAdapter

from support.noise import noise_image
from vlmflow.errors import JobError
from vlmflow.jobs import cost_note, measure
from vlmflow.probes import AnyProbe
from vlmflow.store.measurements import FOLDER
from vlmflow.tables import TASK, Shard, read_shards, shard_names

SETTINGS = {
    "content": "abc",
    "template": "own",
    "template_text": "",
    "dtype": "float32",
    "instruction": "",
    "fit": "own",
    "reads": "image",
}
TEXTS = ("what color is the circle , red or blue ?", "is the square red ?", "what is to the left of the circle ?")


@pytest.fixture
def images(tmp_path):
    """The paths of five images."""
    paths = [tmp_path / "images" / f"{number}.png" for number in range(5)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        noise_image(40, number).save(path)
    return paths


@pytest.fixture(autouse=True)
def job(tmp_path, monkeypatch, tiny_llava):
    """A working folder with its store, and how often a model was opened."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "store"))
    opened = []

    @contextlib.contextmanager
    def open_model(*_):
        opened.append(1)
        yield tiny_llava

    monkeypatch.setattr(measure, "open_model", open_model)
    return opened


def questions(images, count, task="A", first=0):
    """Rows of the table `task`, each question about the next image."""
    rows = [
        {
            "question_id": str(number),
            "image_id": images[number % len(images)].stem,
            "image": str(images[number % len(images)]),
            "width": 40,
            "height": 40,
            "question": TEXTS[number % len(TEXTS)],
            "answer": "red",
            "structural": "query",
            "semantic": "attr",
            "detailed": "",
            "objects": [],
        }
        for number in range(first, first + count)
    ]
    return TASK.frame(rows).select(pl.lit(task).alias("task"), pl.all())


def asked(rows):
    """The same rows, as probes get them: with an answer's tokens."""
    return rows.with_columns(token_ids=pl.lit([6], dtype=pl.List(pl.Int64)))


def answering(code="code", **settings):
    return measure.answering("m", SETTINGS | settings, code, "strict")


def probing(code="code", match="strict", **settings):
    probe = TypeAdapter(AnyProbe).validate_python(settings or {"kind": "lens"})
    return measure.probing(probe, "p", "m", SETTINGS, code, match)


def run(step, rows, shard="1-of-1", path="results/table.parquet"):
    """(rows, skipped, number of questions that were measured)."""
    measured, skipped = measure.measure_shard(step, rows, Shard.parse(shard), path, gpus=0, threads=1)
    return measured, skipped, cost_note._QUESTIONS["measured"]


def test_a_second_job_that_asks_the_same_measures_nothing_and_loads_no_model(images, job):
    rows = questions(images, 6)
    first, _, measured = run(answering(), rows)
    assert (measured, len(job)) == (6, 1)
    again, _, measured = run(answering(), rows)
    assert (measured, len(job)) == (0, 1)
    assert again.equals(first)


def test_a_larger_sample_and_another_task_measure_what_is_new(images, job):
    run(probing(), asked(questions(images, 4)))
    assert run(probing(), asked(questions(images, 7)))[2] == 3
    both = pl.concat([asked(questions(images, 7)), asked(questions(images, 3, "B", first=7))])
    rows, _, measured = run(probing(), both)
    assert measured == 3
    assert rows.group_by("task", maintain_order=True).agg(pl.col("question_id").n_unique()).rows() == [
        ("A", 7),
        ("B", 3),
    ]
    assert run(probing(), asked(questions(images, 7, "renamed")))[2] == 0


def test_a_replaced_image_measures_its_questions_and_no_other(images, job):
    rows = questions(images, 7)
    first = run(answering(), rows)[0]
    noise_image(40, 99).save(images[1])
    again, _, measured = run(answering(), rows)
    assert measured == 2  # questions 1 and 6
    old, new = (dict(each.select("question_id", "probability").rows()) for each in (first, again))
    assert {name for name in old if old[name] != new[name]} == {"1", "6"}
    images[1].rename(images[1].with_name("moved.png"))
    moved = rows.with_columns(pl.col("image").str.replace("/1.png", "/moved.png", literal=True))
    assert run(answering(), moved)[2] == 0, "only the bytes of an image count"


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        ({"content": "other weights"}, 4),
        ({"dtype": "float16"}, 4),
        ({"instruction": "Answer in one word."}, 4),
        ({"template_text": "another"}, 4),
        ({"path": "elsewhere", "gpus": 2}, 0),
    ],
)
def test_what_an_answer_depends_on(images, change, measured):
    rows = questions(images, 4)
    run(answering(), rows)
    assert run(answering(**change), rows)[2] == measured


def test_a_probe_depends_on_its_code_and_settings_but_not_on_which_questions_it_measures(images):
    rows = asked(questions(images, 4))
    knockout = {"kind": "knockout", "window": 3, "edges": ["image -> last"]}
    run(probing(**knockout), rows)
    for same in ({"questions": 4}, {"tasks": ["A"]}, {"models": ["m"]}):
        assert run(probing(**knockout, **same), rows)[2] == 0
    assert run(probing(match="relaxed", **knockout), rows)[2] == 0
    assert run(probing(**knockout | {"window": 5}), rows)[2] == 4
    assert run(probing(code="changed", **knockout), rows)[2] == 4
    assert run(probing(), rows)[2] == 4, "another kind"


def test_a_question_whose_answer_changed_is_measured_again(images):
    rows = asked(questions(images, 4))
    knockout = {"kind": "knockout", "window": 3, "edges": ["image -> last"]}
    run(probing(**knockout), rows)
    first = pl.col("question_id") == "0"
    other = rows.with_columns(token_ids=pl.when(first).then([7]).otherwise(pl.col("token_ids")))
    assert run(probing(**knockout), other)[2] == 1


@pytest.mark.parametrize("kind", ["lens", "similarity"])
def test_shards_together_have_the_same_rows(images, tmp_path, monkeypatch, kind):
    step = probing(**({"kind": kind} | ({"partners": 2} if kind == "similarity" else {})))
    rows = pl.concat([asked(questions(images, 7)), asked(questions(images, 5, "B"))])
    tables = {}
    for count in (1, 3):
        monkeypatch.setenv(FOLDER, str(tmp_path / f"store {count}"))  # nothing is taken from the other
        paths = []
        for shard in shard_names(count):
            paths.append(tmp_path / f"{shard}.parquet")
            step.table.write(run(step, rows, shard)[0], paths[-1])
        tables[count] = read_shards(step.table, paths)
    assert len(tables[1]) > 50
    assert tables[1].equals(tables[3])


def test_a_comparison_with_other_questions_stays_valid_when_questions_are_added(images):
    """They come after those of the smaller sample; a question that is exchanged concerns those compared with it."""
    step = probing(kind="similarity", partners=2)
    rows = asked(questions(images, 6))
    first = run(step, rows)[0]
    more, _, measured = run(step, asked(questions(images, 9)))
    assert measured == 3
    assert more.head(len(first)).equals(first)
    exchanged = pl.concat([rows.head(3), asked(questions(images, 1, first=20)), rows.slice(4)])
    assert 1 < run(step, exchanged)[2] <= 3


def test_what_does_not_apply_is_kept_and_a_missing_image_is_looked_for_again(images, job):
    edges = ["image -> last", "true option -> last"]
    rows = asked(questions(images, 3))
    step = probing(kind="knockout", window=3, edges=edges)
    _, skipped, _ = run(step, rows)
    assert len(skipped) == 3  # none has options
    images[0].rename(images[0].with_suffix(".away"))
    _, skipped, measured = run(step, rows)
    assert (measured, len(skipped)) == (1, 3)
    assert "cannot be read" in skipped.filter(pl.col("question_id") == "0")["reason"][0]
    images[0].with_suffix(".away").rename(images[0])
    opened = len(job)
    again, skipped, measured = run(step, rows)
    assert (measured, len(job)) == (0, opened)
    assert skipped["what"].to_list() == ["true option -> last"] * 3
    assert again["question_id"].n_unique() == 3


def test_questions_that_cannot_be_measured_are_not_tried_again(images, job):
    step = probing(kind="knockout", window=3, edges=["true option -> last"])
    rows = asked(questions(images, 3))
    _, skipped, _ = run(step, rows)
    _, again, measured = run(step, rows)
    assert (measured, len(job)) == (0, 1)
    assert again.equals(skipped)
    assert len(again) == 6  # each question, and its edge


def test_an_error_of_the_machine_is_not_kept(images, monkeypatch, tiny_llava):
    rows = questions(images, 3)
    monkeypatch.setattr(type(tiny_llava), "answer", lambda *_: 1 / 0)
    with pytest.raises(JobError, match="none of the 3 questions"):
        run(answering(), rows)
    monkeypatch.undo()


def test_a_shard_without_questions_is_an_empty_table(images, job):
    rows = questions(images, 1)
    sizes = [len(run(answering(), rows, shard)[0]) for shard in shard_names(4)]
    assert sorted(sizes) == [0, 0, 0, 1]
    assert len(job) == 1


def test_the_numbers_of_questions_are_noted_beside_the_log(images, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_note, "held_gpus", dict)  # those of other tests of this process
    run(answering(), questions(images, 3))
    run(answering(), questions(images, 5))
    cost_note.write_cost_note(tmp_path / "job.log")
    assert json.loads((tmp_path / "job.cost.json").read_text()) == {"measured": 2, "kept": 3}


def test_a_measurement_depends_on_the_donor_of_its_question_and_on_no_other(images):
    step = probing(kind="patching", segments=["last"])
    # Questions 0, 3 and 1, 4 are the same ones about other images; only 0 and 3 have different answers.
    rows = asked(questions(images, 5)).with_columns(
        answer=pl.when(pl.col("question_id") == "3").then(pl.lit("blue")).otherwise("answer"),
        token_ids=pl.when(pl.col("question_id") == "3").then([7]).otherwise("token_ids"),
    )
    measured, skipped, count = run(step, rows)
    assert count == 5
    assert set(measured.select("question_id", "donor").unique().rows()) == {("0", "3"), ("3", "0")}
    assert len(skipped) == 3
    assert run(step, rows)[2] == 0
    noise_image(40, 99).save(images[3])
    again, _, count = run(step, rows)
    assert count == 2
    changed = [each.filter(pl.col("question_id") == "0", pl.col("layer") == 0)["towards"] for each in (measured, again)]
    assert not changed[0].equals(changed[1])
