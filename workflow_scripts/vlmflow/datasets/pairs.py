"""Read pairs of picture and caption, COCO's and Winoground's: questions that ask for a description of the picture."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from vlmflow.tasks import DESCRIBE

from .entries import (
    DatasetError,
    Loose,
    Rows,
    bare_question,
    each_once,
    malformed,
    read_entries,
    read_json,
    read_text,
    skipped_entry,
)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Pixels = Annotated[int, Field(ge=1, lt=2**31)]


class CocoCaption(Loose):
    id: int
    image_id: str = Field(min_length=1)
    caption: Text


class CocoPicture(Loose):
    id: str
    width: Pixels
    height: Pixels


class Access(Loose):
    granted: bool
    reason: str | None = None


class WinogroundExample(Loose):
    id: str = Field(min_length=1)
    image_0: str = Field(min_length=1)
    image_1: str = Field(min_length=1)
    caption_0: Text
    caption_1: Text


def read_coco_captions(captions: Path, prompt: str) -> Rows:
    """Rows of the tables `questions` and `skipped`: a question a picture, with the caption of the lowest id.

    Args:
        captions: COCO's file of captions.
        prompt: what is asked of every picture.

    Raises:
        DatasetError: the file is missing or is not laid out as COCO's.
    """
    chosen: dict[str, CocoCaption] = {}
    skipped = []
    for raw in read_entries(captions, "annotations"):
        try:
            entry = CocoCaption.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(str(raw.get("id")), error))
            continue
        if entry.id < chosen.setdefault(entry.image_id, entry).id:
            chosen[entry.image_id] = entry
    sizes = _sizes(captions)
    rows = [
        _row(str(entry.id), image_id, prompt, entry.caption) | sizes.get(image_id, {})
        for image_id, entry in chosen.items()
    ]
    return each_once(rows, skipped)


def _sizes(captions: Path) -> dict[str, dict[str, int]]:
    """Picture id → its width and height, of those pictures whose size is given."""
    sizes = {}
    for raw in read_entries(captions, "images", absent=[]):
        try:
            picture = CocoPicture.model_validate(raw)
        except ValidationError:
            continue
        sizes[picture.id] = {"width": picture.width, "height": picture.height}
    return sizes


def read_winoground(examples: Path, access: Path, prompt: str) -> Rows:
    """Rows of the tables `questions` and `skipped`: two questions an example, one on each of its pictures.

    Args:
        examples: Winoground's file, an example a line.
        access: as `fetch_winoground` writes it; without access there is one skipped row, and no question.
        prompt: what is asked of every picture.

    Raises:
        DatasetError: a file is missing or is not laid out as it should be.
    """
    known = _access(access)
    if not known.granted:
        return [], [skipped_entry("winoground", known.reason or "there is no access to Winoground")]
    rows, skipped = [], []
    for raw in _lines(examples):
        try:
            entry = WinogroundExample.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(str(raw.get("id")), error))
            continue
        rows += [
            _row(f"{entry.id}-0", entry.image_0, prompt, entry.caption_0),
            _row(f"{entry.id}-1", entry.image_1, prompt, entry.caption_1),
        ]
    return each_once(rows, skipped)


def _access(path: Path) -> Access:
    expected = "whether Winoground could be fetched"
    try:
        return Access.model_validate(read_json(path, expected))
    except ValidationError as error:
        raise DatasetError(f"{path}: this does not say {expected}; delete it and run the same command again") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file that has one a line."""
    expected = "examples of Winoground, a JSON object a line"
    entries = []
    # Not by `splitlines`: some of what it takes for the end of a line may stand in a JSON string.
    for number, line in enumerate(read_text(path, expected).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{path}, line {number}: this is no JSON ({error}); expected {expected}") from error
        if not isinstance(entry, dict):
            raise DatasetError(f"{path}, line {number}: this is not {expected}")
        entries.append(entry)
    return entries


def _row(question_id: str, image_id: str, prompt: str, caption: str) -> dict[str, Any]:
    return bare_question(question_id, image_id, prompt, caption, (DESCRIBE, "caption", ""))
