"""Dense captions of pictures: region descriptions, as Visual Genome publishes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson
from pydantic import BaseModel, ConfigDict, ValidationError

from .entries import DatasetError


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Region(_Loose):
    phrase: str


class Picture(_Loose):
    id: int | str
    regions: list[Region]


def read_captions(path: Path, wanted: set[str]) -> dict[str, str]:
    """Picture id → its region descriptions in the order of the file, each once, as sentences one after the other.

    The file, which can be large, is read as a stream.

    Args:
        path: JSON: a list of {"id": picture, "regions": [{"phrase": …}, …]}.
        wanted: ids of pictures; others are passed over.

    Raises:
        DatasetError: there is no such file, or it is no such list.
    """
    phrases: dict[str, dict[str, None]] = {}
    for number, entry in enumerate(_entries(path)):
        if isinstance(entry, dict) and str(entry.get("id", "")) not in {"", *wanted}:
            continue
        try:
            picture = Picture.model_validate(entry)
        except ValidationError as error:
            place = error.errors()[0]
            raise DatasetError(
                f"{path}: entry {number} is no picture with regions: {'.'.join(map(str, place['loc']))}: {place['msg']}"
            ) from error
        # A picture that has two entries is described by both.
        of_picture = phrases.setdefault(str(picture.id), {})
        of_picture |= dict.fromkeys(region.phrase.strip().rstrip(".").strip() for region in picture.regions)
    return {name: ". ".join(found) + "." for name, texts in phrases.items() if (found := [t for t in texts if t])}


def _entries(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file:
            yield from ijson.items(file, "item")
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; expected region descriptions") from None
    except ijson.JSONError as error:
        raise DatasetError(f"{path}: this is no JSON ({error}); expected region descriptions") from error
