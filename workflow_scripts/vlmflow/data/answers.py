"""The correct answer to a question, and whether a model's answer is correct."""

from typing import Any

from .answer_match import AnswersMatch, same
from .caption_questions import DESCRIBE


def correct_answer(row: dict[str, Any]) -> str | None:
    """The correct answer to a question; None where no answer is correct: many descriptions fit an image.

    Args:
        row: its row of the table `task`.
    """
    return None if row["structural"] == DESCRIBE else row["answer"]


def is_correct(given: str, answer: str | None, match: AnswersMatch = "strict") -> bool | None:
    """Whether a model's answer is the correct one, compared by the rule `match`; None where no answer is
    correct."""
    return None if answer is None else same(given, answer, match)
