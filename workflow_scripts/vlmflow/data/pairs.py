"""Read pairs of picture and caption, COCO's and Winoground's: questions that ask for a description of the picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from vlmflow.errors import DatasetError

from .entries import (
    Loose,
    Pixels,
    Rows,
    bare_question,
    each_once,
    malformed,
    named,
    read_entries,
    read_json,
    read_lines,
    skipped_entry,
)
from .sampling import DESCRIBE

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


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
    refused: dict[str, str] = Field(default_factory=dict)


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
    for name, raw in named(read_entries(captions, "annotations"), "id"):
        try:
            entry = CocoCaption.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(name, error))
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
    for name, raw in _lines(examples):
        if isinstance(raw, ValueError):
            skipped.append(skipped_entry(name, f"this is no JSON ({raw})"))
            continue
        try:
            entry = WinogroundExample.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        pairs = (entry.image_0, entry.caption_0), (entry.image_1, entry.caption_1)
        rows += [
            _row(f"{entry.id}-{place}", image_id, prompt, caption) | {"problem": known.refused.get(image_id)}
            for place, (image_id, caption) in enumerate(pairs)
        ]
    return each_once(rows, skipped)


def _access(path: Path) -> Access:
    expected = "whether Winoground could be fetched"
    try:
        return Access.model_validate(read_json(path, expected))
    except ValidationError as error:
        raise DatasetError(f"{path}: this does not say {expected}; delete it and run the same command again") from error


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line of a file with its example's id, or else its number; what it holds, or why that is no JSON."""
    expected = "examples of Winoground, a JSON object a line"
    for number, entry in read_lines(path, expected):
        ((name, _),) = named([entry], "id")
        yield (f"line {number}" if name == "entry 1" else name), entry


def _row(question_id: str, image_id: str, prompt: str, caption: str) -> dict[str, Any]:
    return bare_question(question_id, image_id, prompt, caption, (DESCRIBE, "caption", ""))
