"""Open questions that several people answered, without boxes or options: shared by OK-VQA and A-OKVQA."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .answer_match import plain
from .entries import bare_question


def majority(answers: Iterable[str]) -> str | None:
    """The most frequent answer, in the form in which answers are compared; the first of those that are equally
    frequent. None where all answers are empty."""
    counts = Counter(text for answer in answers if (text := plain(answer)))
    return counts.most_common(1)[0][0] if counts else None


def open_question(
    question_id: str, image_id: str, question: str, answer: str | None, question_type: str, problem: str | None
) -> dict[str, Any]:
    """A row of the table `questions`; `problem` says what the question lacks, or is None."""
    types = ("query", "global", question_type)
    return bare_question(question_id, image_id, question, answer or "", types) | {"problem": problem}
