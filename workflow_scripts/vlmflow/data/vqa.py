"""Read OK-VQA and A-OKVQA: open questions that need knowledge, several people's answers, no boxes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from .entries import Loose, Rows, bare_question, each_once, malformed, named, read_entries
from .spelling import plain


class OkVqaQuestion(Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)


class GivenAnswer(Loose):
    answer: str


class OkVqaAnnotation(Loose):
    question_id: str
    question_type: str = ""
    answers: list[GivenAnswer] = Field(min_length=1)


class AOkVqaQuestion(Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)
    direct_answers: list[str] = Field(min_length=1)
    difficult_direct_answer: bool = False


def majority(answers: Iterable[str]) -> str | None:
    """What most people answered, as answers are compared; of equally frequent answers the one that was given first.
    None where nobody said anything."""
    counts = Counter(text for answer in answers if (text := plain(answer)))
    return counts.most_common(1)[0][0] if counts else None


def read_ok_vqa(questions: Path, annotations: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file of questions is in one of the two.

    Raises:
        DatasetError: a file is missing, or is not laid out as OK-VQA's.
    """
    answers: dict[str, OkVqaAnnotation | ValidationError] = {}
    several = set()
    for name, raw in named(read_entries(annotations, "annotations"), "question_id"):
        if name in answers:
            several.add(name)
        try:
            answers[name] = OkVqaAnnotation.model_validate(raw)
        except ValidationError as error:
            answers[name] = error
    rows, skipped = [], []
    for name, raw in named(read_entries(questions, "questions"), "question_id"):
        try:
            entry, given = OkVqaQuestion.model_validate(raw), answers.get(name)
            if isinstance(given, ValidationError):
                raise given
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        answer = majority(each.answer for each in given.answers) if given else None
        problem = None if answer else f"{annotations.name} has no answer to it"
        if name in several:
            problem = f"{annotations.name} has several annotations of it; keep the right one"
        rows.append(_row(entry, answer, given.question_type if given else "", problem))
    return each_once(rows, skipped)


def read_a_okvqa(questions: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file is in one of the two.

    Raises:
        DatasetError: the file is missing or is not laid out as A-OKVQA's.
    """
    rows, skipped = [], []
    for name, raw in named(read_entries(questions, None), "question_id"):
        try:
            entry = AOkVqaQuestion.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        answer = majority(entry.direct_answers)
        problem = None if answer else "nobody's answer to it is given"
        if entry.difficult_direct_answer:
            problem = "its authors mark it as too open for a direct answer"
        rows.append(_row(entry, answer, "", problem))
    return each_once(rows, skipped)


def _row(
    entry: OkVqaQuestion | AOkVqaQuestion, answer: str | None, question_type: str, problem: str | None
) -> dict[str, Any]:
    types = ("query", "global", question_type)
    row = bare_question(entry.question_id, entry.image_id, entry.question, answer or "", types)
    return row | {"problem": problem}
