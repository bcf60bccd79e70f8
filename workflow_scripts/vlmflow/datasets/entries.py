"""What is said of files and of entries in them that are not what they should be."""

from typing import Any

from pydantic import ValidationError


class DatasetError(ValueError):
    """A file that is not the dataset's; the message names the file and what was expected."""


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
