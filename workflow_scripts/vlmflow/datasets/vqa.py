"""Read OK-VQA and A-OKVQA: open questions that need knowledge, several people's answers, no boxes."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .entries import DatasetError, malformed, skipped_entry

Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class OkVqaQuestion(_Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)


class GivenAnswer(_Loose):
    answer: str


class OkVqaAnnotation(_Loose):
    question_id: str
    question_type: str = ""
    answers: list[GivenAnswer] = Field(min_length=1)


class AOkVqaQuestion(_Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)
    direct_answers: list[str] = Field(min_length=1)
    difficult_direct_answer: bool = False


def majority(answers: Iterable[str]) -> str | None:
    """What most people answered, in lowercase; of equally frequent answers the one that was given first.  None where
    nobody said anything."""
    counts = Counter(text for answer in answers if (text := answer.strip().lower()))
    return counts.most_common(1)[0][0] if counts else None


def read_ok_vqa(questions: Path, annotations: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file of questions is in one of the two.

    Raises:
        DatasetError: a file is missing, is not laid out as OK-VQA's, or has two annotations of a question.
    """
    answers: dict[str, OkVqaAnnotation | ValidationError] = {}
    for raw in _entries(annotations, "annotations"):
        name = str(raw.get("question_id"))
        if name in answers:
            raise DatasetError(f"{annotations}: there are two annotations of the question {name}")
        try:
            answers[name] = OkVqaAnnotation.model_validate(raw)
        except ValidationError as error:
            answers[name] = error
    rows, skipped = [], []
    for raw in _entries(questions, "questions"):
        name = str(raw.get("question_id"))
        try:
            entry, given = OkVqaQuestion.model_validate(raw), answers.get(name)
            if isinstance(given, ValidationError):
                raise given
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        answer = majority(each.answer for each in given.answers) if given else None
        problem = None if answer else f"{annotations.name} has no answer to it"
        rows.append(_row(entry, answer, given.question_type if given else "", problem))
    return _each_once(rows, skipped)


def read_a_okvqa(questions: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file is in one of the two.

    Raises:
        DatasetError: the file is missing or is not laid out as A-OKVQA's.
    """
    rows, skipped = [], []
    for raw in _entries(questions, None):
        try:
            entry = AOkVqaQuestion.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(str(raw.get("question_id")), error))
            continue
        answer = majority(entry.direct_answers)
        problem = None if answer else "nobody's answer to it is given"
        if entry.difficult_direct_answer:
            problem = "its authors mark it as too open for a direct answer"
        rows.append(_row(entry, answer, "", problem))
    return _each_once(rows, skipped)


def _entries(path: Path, key: str | None) -> list[dict[str, Any]]:
    """The list of objects in a file, or under a key of it."""
    expected = "a list of questions" if key is None else f"a list of objects under {key!r}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; expected {expected}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path}: this is no JSON ({error}); expected {expected}") from error
    found = content
    if key is not None:
        found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DatasetError(f"{path}: this is not {expected}")
    return found


def _row(
    entry: OkVqaQuestion | AOkVqaQuestion, answer: str | None, question_type: str, problem: str | None
) -> dict[str, Any]:
    """A row of the table `questions`; there are no boxes, options or captions."""
    return {
        "question_id": entry.question_id,
        "image_id": entry.image_id,
        "width": None,
        "height": None,
        "question": entry.question,
        "answer": answer or "",
        "full_answer": None,
        "structural": "query",
        "semantic": "global",
        "detailed": question_type,
        "true_option": None,
        "false_option": None,
        "objects": [],
        "captions": None,
        "problem": problem,
    }


def _each_once(rows: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> Rows:
    """Of several questions with one id, the first."""
    kept: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["question_id"]
        if kept.setdefault(name, row) is not row:
            skipped.append(skipped_entry(name, "another question has this id"))
    return list(kept.values()), skipped
