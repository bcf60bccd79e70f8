"""Which questions a probe measures: the sample of correct answers, the wrong ones, or all."""

import polars as pl
import pytest

from vlmflow.probes import AttentionProbe, KnockoutProbe, LensProbe, WordsProbe
from vlmflow.probes.base import ProbeTables
from vlmflow.probes.rows import rows_to_probe
from vlmflow.tables import ANSWERS, SELECTED, TASK

CORRECT = {"0": True, "1": False, "2": True, "3": False, "4": None, "5": True, "6": False}
EDGES = ["question -> last"]


def tables():
    about = [{"question_id": name, "image_id": name, "image": f"{name}.png"} for name in CORRECT]
    questions = [
        each | {"question": "q ?", "answer": "red", "structural": "query", "semantic": "attr", "detailed": ""}
        | {"objects": [], "width": 4, "height": 4}
        for each in about
    ]  # fmt: skip
    answers = [
        {"task": "T", "question_id": name, "image_id": name, "predicted": "x", "answer": "red", "correct": correct}
        | {"probability": 0.5, "token_ids": [7], "tokens": ["x"], "token_probabilities": [0.5]}
        for name, correct in CORRECT.items()
    ]
    return ProbeTables(
        questions=TASK.frame(questions).select(pl.lit("T").alias("task"), pl.all()),
        answers=ANSWERS.frame(answers),
        selected=SELECTED.frame([{"task": "T", "question_id": name} for name in ("0", "5")]),
    )


@pytest.mark.parametrize(
    ("answers", "expected"), [("correct", {"0", "5"}), ("wrong", {"1", "3", "6"}), ("any", set(CORRECT))]
)
@pytest.mark.parametrize(
    "probe",
    [
        KnockoutProbe(kind="knockout", window=1, edges=EDGES),
        LensProbe(kind="lens"),
        WordsProbe(kind="words", modules=["mlp"]),
        AttentionProbe(kind="attention", edges=EDGES),
    ],
    ids=lambda probe: probe.kind,
)
def test_a_probe_measures_the_answers_that_it_names(probe, answers, expected):
    """An answer that is neither correct nor wrong, such as a description, is among `any` alone."""
    rows = rows_to_probe(probe.model_copy(update={"answers": answers}), tables(), seed=0)
    assert set(rows["question_id"]) == expected
    assert set(rows["token_ids"].explode()) == {7}


def test_a_smaller_number_is_a_sample_of_the_wrong_answers():
    probe = KnockoutProbe(kind="knockout", window=1, edges=EDGES, answers="wrong", questions=2)
    rows = rows_to_probe(probe, tables(), seed=0)
    assert len(rows) == 2
    assert set(rows["question_id"]) < {"1", "3", "6"}
    larger = rows_to_probe(probe.model_copy(update={"questions": 3}), tables(), seed=0)
    assert set(rows["question_id"]) < set(larger["question_id"])
