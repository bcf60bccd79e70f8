"""Dense captions of images: region descriptions, as Visual Genome publishes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson
from pydantic import ValidationError

from vlmflow.errors import DatasetError

from .entries import Loose, first_mistake
from .published_files import by_lines, reading


class Region(Loose):
    phrase: str


class DescribedImage(Loose):
    id: str
    regions: list[Region]


def read_captions(path: Path, wanted: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(image id → its region descriptions in the order of the file, each once, as sentences one after the other;
    image id → the reason for which its descriptions cannot be read).

    The file, which can be large, is read as a stream.

    Args:
        path: JSON: a list of {"id": image, "regions": [{"phrase": …}, …]}, or (.jsonl) one object per line.
        wanted: ids of images; all others are ignored.

    Raises:
        DatasetError: there is no such file, or it is not such a list.
    """
    phrases: dict[str, dict[str, None]] = {}
    broken: dict[str, str] = {}
    others = 0
    for number, entry in enumerate(_entries(path), 1):
        name = str(entry.get("id", "")) if isinstance(entry, dict) else ""
        if name and name not in wanted:
            others += 1
            continue
        try:
            image = DescribedImage.model_validate(entry)
        except ValidationError as error:
            broken[name] = f"{path.name}: entry {number} is not an image with regions: {first_mistake(error)}"
            continue
        # The descriptions of two entries of one image are joined.
        of_image = phrases.setdefault(image.id, {})
        of_image |= dict.fromkeys(region.phrase.strip().rstrip(".").strip() for region in image.regions)
    if broken and not phrases and not others:
        raise DatasetError(f"{path.parent}/{next(iter(broken.values()))}")
    for reason in broken.values():
        print(reason)
    texts = {
        name: ". ".join(sentences) + "." for name, texts in phrases.items() if (sentences := [t for t in texts if t])
    }
    return texts, {name: reason for name, reason in broken.items() if name in wanted}


def _entries(path: Path) -> Iterator[Any]:
    lines = by_lines(path)
    try:
        with reading(path, "region descriptions") as file:
            yield from ijson.items(file, "" if lines else "item", multiple_values=lines)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: this is not JSON ({error}); expected region descriptions") from error
