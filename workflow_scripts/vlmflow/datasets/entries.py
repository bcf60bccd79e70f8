"""What readers of datasets share: files, their entries, and what is said of those that are not what they should be."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

# Rows of the tables `questions` and `skipped`.
Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


class DatasetError(ValueError):
    """A file that is not the dataset's; the message names the file and what was expected."""


class Loose(BaseModel):
    """An entry of which only some fields are read; ids may be numbers."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


def read_text(path: Path, expected: str) -> str:
    """The text of a file; `expected` is what it should hold, for messages.

    Raises:
        DatasetError: there is no such file, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; expected {expected}") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: this is no text in UTF-8 ({error}); expected {expected}") from error


def read_json(path: Path, expected: str) -> Any:
    """What is written in a JSON file; `expected` is what it should hold, for messages.

    Raises:
        DatasetError: there is no such file, or it is no JSON.
    """
    try:
        return json.loads(read_text(path, expected))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: this is no JSON ({error}); expected {expected}") from error


def read_entries(path: Path, key: str | None, absent: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The list of objects in a JSON file, or under a key of it, or `absent` where an object has no such key.

    Raises:
        DatasetError: there is no such file, or it holds no such list.
    """
    expected = "a list of questions" if key is None else f"a list of objects under {key!r}"
    content = read_json(path, expected)
    found = content
    if key is not None:
        found = content.get(key, absent) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DatasetError(f"{path}: this is not {expected}")
    return found


def each_once(rows: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> Rows:
    """Of several questions with one id, the first."""
    kept: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["question_id"]
        if kept.setdefault(name, row) is not row:
            skipped.append(skipped_entry(name, "another question has this id"))
    return list(kept.values()), skipped


def malformed(question_id: str, error: ValidationError) -> dict[str, Any]:
    """A row of the table `skipped` for an entry that is not what it should be."""
    place = error.errors()[0]
    return skipped_entry(question_id, f"malformed entry: {'.'.join(map(str, place['loc']))}: {place['msg']}")


def skipped_entry(question_id: str, reason: str) -> dict[str, Any]:
    """A row of the table `skipped` for an entry that becomes no question."""
    return {"question_id": question_id, "task": None, "model": None, "stage": "questions", "reason": reason}


def absent_object(name: str) -> dict[str, Any]:
    """An entry of the column `objects` for what the picture does not show, or nobody knows where."""
    return {"name": name, "id": None, **dict.fromkeys("xywh"), "attributes": []}


def bare_question(
    question_id: str, image_id: str, question: str, answer: str, types: tuple[str, str, str]
) -> dict[str, Any]:
    """A row of the table `questions` without size, boxes, options and captions; `types` are the structural, semantic
    and detailed one."""
    structural, semantic, detailed = types
    return {
        "question_id": question_id,
        "image_id": image_id,
        "width": None,
        "height": None,
        "question": question,
        "answer": answer,
        "full_answer": None,
        "structural": structural,
        "semantic": semantic,
        "detailed": detailed,
        "true_option": None,
        "false_option": None,
        "objects": [],
        "captions": None,
        "problem": None,
    }
