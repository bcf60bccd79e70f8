"""Scripts of rules by themselves: who is drawn and who is counted where there is nothing to be right."""

from types import SimpleNamespace

import polars as pl
import pytest

from support.scripts import run_script
from vlmflow.tables import ACCURACY, ANSWERS, SELECTED, SKIPPED


def answers(*correct):
    """A table of answers, by whether each is right."""
    row = {"image_id": "i", "predicted": "p", "answer": "a", "probability": 0.5, "token_ids": [1]}
    return ANSWERS.frame([row | {"question_id": str(n), "correct": each} for n, each in enumerate(correct)])


@pytest.mark.parametrize("per_task", [1, 2, 9])
def test_what_cannot_be_right_is_drawn_too(tmp_path, per_task):
    ANSWERS.write(answers(True, False, None, None, True), tmp_path / "answers")
    run_script(
        "draw_sample.py",
        tmp_path,
        input=SimpleNamespace(answers=tmp_path / "answers"),
        output=SimpleNamespace(selected=tmp_path / "selected", skipped=tmp_path / "skipped"),
        params=SimpleNamespace(per_task=per_task, seed=0),
        wildcards=SimpleNamespace(task="T", model="m"),
    )
    drawn = SELECTED.read(tmp_path / "selected")["question_id"].to_list()
    assert len(drawn) == min(per_task, 4)
    reasons = {
        "0": "answered rightly, but not drawn into the sample",
        "1": "answered wrongly",
        "2": "answered, but not drawn into the sample",
        "3": "answered, but not drawn into the sample",
        "4": "answered rightly, but not drawn into the sample",
    }
    account = SKIPPED.read(tmp_path / "skipped")
    assert set(account.select("stage", "task", "model").rows()) == {("selected", "T", "m")}
    assert dict(account.select("question_id", "reason").rows()) == {
        name: reason for name, reason in reasons.items() if name not in drawn
    }


def test_an_answer_of_no_tokens_is_told_from_other_wrong_ones(tmp_path):
    said = answers(False, False).with_columns(token_ids=pl.Series([[], [1]], dtype=pl.List(pl.Int32)))
    ANSWERS.write(said, tmp_path / "answers")
    run_script(
        "draw_sample.py",
        tmp_path,
        input=SimpleNamespace(answers=tmp_path / "answers"),
        output=SimpleNamespace(selected=tmp_path / "selected", skipped=tmp_path / "skipped"),
        params=SimpleNamespace(per_task=5, seed=0),
        wildcards=SimpleNamespace(task="T", model="m"),
    )
    reasons = SKIPPED.read(tmp_path / "skipped")["reason"].to_list()
    assert reasons == ["answered wrongly: the model said nothing", "answered wrongly"]


def test_accuracy_is_of_what_can_be_right(tmp_path):
    tables = {"Choose": answers(True, False, False), "Describe": answers(None, None), "None": answers()}
    for task, table in tables.items():
        ANSWERS.write(table, tmp_path / task)
    SELECTED.write(SELECTED.frame([]), tmp_path / "selected")
    run_script(
        "summarise_answers.py",
        tmp_path,
        input=SimpleNamespace(answers=[tmp_path / task for task in tables], selected=[tmp_path / "selected"] * 3),
        output=SimpleNamespace(summary=tmp_path / "summary"),
        params=SimpleNamespace(places=[("m", task) for task in tables]),
    )
    found = ACCURACY.read(tmp_path / "summary").select("task", "asked", "right", "accuracy").rows()
    assert found == [("Choose", 3, 1, 1 / 3), ("Describe", 2, None, None), ("None", 0, None, None)]
