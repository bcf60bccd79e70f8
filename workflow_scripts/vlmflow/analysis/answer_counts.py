"""The number of questions that a model answered correctly."""

from typing import Any

import polars as pl


def count_answers(answers: pl.DataFrame, selected: pl.DataFrame, *, model: str, task: str) -> dict[str, Any]:
    """A row of the table `accuracy`; number and share of correct answers are null if no answer can be correct.

    Args:
        answers: rows of the table `answers`, of one model to one task.
        selected: rows of the table `selected`: the questions that are analysed.
        model, task: for the row.
    """
    judged = answers["correct"].drop_nulls()
    return {
        "model": model,
        "task": task,
        "asked": len(answers),
        "correct": judged.sum() if len(judged) else None,
        "analysed": len(selected),
        "accuracy": judged.mean(),
    }
