"""How many answers are correct, of those that can be."""

from vlmflow.analysis.answer_counts import count_answers
from vlmflow.tables import ACCURACY, ANSWERS, SELECTED


def answers(*correct):
    """A table of answers, by whether each is correct."""
    row = {"task": "T", "image_id": "i", "predicted": "p", "answer": "a", "probability": 0.5, "token_ids": [1]}
    row |= {"tokens": ["p"], "token_probabilities": [0.5]}
    return ANSWERS.frame([row | {"question_id": str(n), "correct": each} for n, each in enumerate(correct)])


def test_accuracy_is_of_what_can_be_correct():
    tables = {"Choose": answers(True, False, False), "Describe": answers(None, None), "None": answers()}
    selected = SELECTED.frame([{"task": "T", "question_id": "0"}])
    rows = [count_answers(table, selected, model="m", task=task) for task, table in tables.items()]
    found = ACCURACY.frame(rows)
    assert found.select("task", "asked", "correct", "accuracy").rows() == [
        ("Choose", 3, 1, 1 / 3),
        ("Describe", 2, None, None),
        ("None", 0, None, None),
    ]
    assert set(found.select("model", "analysed").rows()) == {("m", 1)}
