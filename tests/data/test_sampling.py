"""Which questions are asked and which are analysed, and what is said of the others."""

import polars as pl
import pytest

from support.questions import of_task
from vlmflow.data.sampling import explored_questions, sample, sample_answered, sample_groups, select_candidates
from vlmflow.data.tasks import Task
from vlmflow.tables import ANSWERS, CANDIDATES, QUESTIONS, SELECTED, SKIPPED


def answers(*correct):
    """A table of answers, by whether each is correct."""
    row = {"task": "T", "image_id": "i", "predicted": "p", "answer": "a", "probability": 0.5, "token_ids": [1]}
    row |= {"tokens": ["p"], "token_probabilities": [0.5]}
    return ANSWERS.frame([row | {"question_id": str(n), "correct": each} for n, each in enumerate(correct)])


def questions(*types, problem=None):
    """A table of questions, by their structural type."""
    row = dict.fromkeys(QUESTIONS.columns) | {"image_id": "i", "question": "?", "answer": "a", "objects": []}
    row |= {"semantic": "attr", "detailed": "", "problem": problem}
    return QUESTIONS.frame([row | {"question_id": str(n), "structural": each} for n, each in enumerate(types)])


@pytest.mark.parametrize("per_task", [1, 2, 9])
def test_what_cannot_be_correct_is_sampled_too(per_task):
    selected, account = sample_answered(answers(True, False, None, None, True), per_task, 0, task="T", model="m")
    assert SELECTED.frame(selected)["task"].to_list() == ["T"] * min(per_task, 4)
    drawn = selected["question_id"].to_list()
    reasons = {
        "0": "answered correctly, but not in the sample",
        "1": "answered wrongly",
        "2": "answered, but not in the sample",
        "3": "answered, but not in the sample",
        "4": "answered correctly, but not in the sample",
    }
    account = SKIPPED.frame(account)
    assert set(account.select("stage", "task", "model").rows()) == {("selected", "T", "m")}
    assert dict(account.select("question_id", "reason").rows()) == {
        name: reason for name, reason in reasons.items() if name not in drawn
    }


def test_an_empty_answer_has_a_reason_of_its_own():
    said = answers(False, False).with_columns(token_ids=pl.Series([[], [1]], dtype=pl.List(pl.Int32)))
    _, account = sample_answered(said, 5, 0, task="T", model="m")
    assert account["reason"].to_list() == ["answered wrongly: the model's answer is empty", "answered wrongly"]


def test_candidates_are_a_sample_of_the_usable_questions():
    types = ["choose"] * 6 + ["query"] * 3
    asked = pl.concat(
        [questions(*types), questions("choose", problem="no options").with_columns(question_id=pl.lit("b"))]
    )
    candidates, account = select_candidates(asked, "T", Task(structural="choose", semantic="attr"), 4, 0)
    chosen = sample(asked["question_id"].head(6), 4, 0).to_list()
    assert CANDIDATES.frame(candidates)["question_id"].to_list() == chosen
    reasons = dict(SKIPPED.frame(account).select("question_id", "reason").rows())
    assert reasons.pop("b") == "no options"
    assert reasons.keys() == set(map(str, range(6))) - set(chosen)
    assert set(reasons.values()) == {"not sampled as a candidate"}
    everything, account = select_candidates(asked, "T", Task(structural="choose", semantic="attr"), None, 0)
    assert (len(everything), account["question_id"].to_list()) == (6, ["b"])


def test_groups_are_sampled_one_by_one():
    asked = questions(*["choose", "query"] * 5, "verify")
    candidates, account = sample_groups(asked, "table-2", 2, 0)
    assert dict(candidates.group_by("structural").len().rows()) == {"choose": 2, "query": 2, "verify": 1}
    assert len(CANDIDATES.frame(candidates)) + len(SKIPPED.frame(account)) == len(asked)
    assert set(account.select("reason", "stage", "task").rows()) == {("not sampled in its group", "tasks", "table-2")}
    assert len(sample_groups(asked, "table-2", None, 0)[0]) == len(asked)
    assert [len(table) for table in sample_groups(questions(), "table-2", 2, 0)] == [0, 0]


def test_a_larger_sample_holds_the_smaller_one():
    ids = pl.Series([str(i) for i in range(100)])
    few, many = sample(ids, 10, seed=0), sample(ids, 40, seed=0)
    assert len(few) == 10
    assert set(few) < set(many)
    assert many.to_list() == [i for i in ids if i in set(many)]
    assert set(sample(ids, 10, seed=1)) != set(few)
    without = sample(ids.filter(ids != few[0]), 10, seed=0)
    assert set(few) - set(without) == {few[0]}
    assert len(sample(ids, 1000, seed=0)) == len(sample(ids, None, seed=0)) == 100
    SELECTED.frame(of_task(few.to_frame("question_id"), "T"))


@pytest.mark.parametrize("per_task", [1, 4, 8, 100])
def test_questions_to_explore_are_a_quarter_wrong_ones_and_then_analysed_ones(per_task):
    given = answers(*([True] * 20), *([False] * 10))
    selected = SELECTED.frame([{"task": "T", "question_id": str(n)} for n in range(5)])
    found = explored_questions(given, selected, per_task)["question_id"].cast(pl.Int32)
    assert len(found) == min(per_task, 30)
    assert len(found.unique()) == len(found)
    wrong = (found >= 20).sum()
    assert wrong == {1: 1, 4: 1, 8: 2, 100: 10}[per_task]
    assert (found < 5).sum() == {1: 0, 4: 3, 8: 5, 100: 5}[per_task]
    larger = explored_questions(given, selected, per_task + 1)["question_id"].cast(pl.Int32)
    assert len(set(found) - set(larger)) <= 1
