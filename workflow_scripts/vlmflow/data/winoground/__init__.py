"""Winoground: pairs of images to be described, from the Hugging Face hub, which gives access on request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from vlmflow.data.base import Dataset, Files, HubDataset, ImageSource, path_of
from vlmflow.data.caption_questions import DESCRIBE_IMAGE, Prompt, Text, describe_image
from vlmflow.data.entries import Loose, Rows, each_once, malformed, named, read_json, read_lines, skipped_entry
from vlmflow.errors import DatasetError
from vlmflow.settings import HUB_ID, Revision

WINOGROUND = "facebook/winoground"
FOLDER = "resources/winoground"
ACCESS, EXAMPLES, IMAGES = f"{FOLDER}/access.json", f"{FOLDER}/examples.jsonl", f"{FOLDER}/images"


class WinogroundDataset(Dataset):
    """Winoground: pairs of images to be described, whose captions are the same words in another order.

    The Hugging Face hub gives access to it on request.
    """

    source: Literal["winoground"]
    repository: str = Field(WINOGROUND, pattern=f"^{HUB_ID}$", description="Id of the dataset on the hub.")
    revision: Revision | None = Field(None, description="Commit, tag or branch.")
    prompt: Prompt = DESCRIBE_IMAGE

    row_settings: ClassVar[frozenset[str]] = frozenset({"prompt"})

    def files(self) -> Files:
        """The examples, and the file that says whether there was access to them."""
        return {"questions": EXAMPLES, "access": ACCESS}

    def gated(self) -> dict[str, HubDataset]:
        """Examples and images come from one dataset on the hub."""
        return {FOLDER: HubDataset(self.repository, self.revision)}

    def addresses(self) -> dict[str, str]:
        """The dataset on the hub, at its revision."""
        return {"Winoground": f"{self.repository} at {self.revision or 'main'}"}

    def image_source(self) -> ImageSource:
        """The folder into which the images are unpacked."""
        return ImageSource(IMAGES)

    def read(self, files: Files) -> Rows:
        """Two rows for each example, one on each of its images."""
        return read_winoground(path_of(files, "questions"), path_of(files, "access"), self.prompt)


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


def read_winoground(examples: Path, access: Path, prompt: str) -> Rows:
    """Rows of the tables `questions` and `skipped`: two questions per example, one on each of its
    images.

    Args:
        examples: Winoground's file, one example per line.
        access: as `fetch_winoground` writes it; without access there is one skipped row, and no question.
        prompt: the question that is asked about every image.

    Raises:
        DatasetError: a file is missing or has another layout.
    """
    known = _access(access)
    if not known.granted:
        return [], [skipped_entry("winoground", known.reason or "there is no access to Winoground")]
    rows, skipped = [], []
    for name, raw in _lines(examples):
        if isinstance(raw, ValueError):
            skipped.append(skipped_entry(name, f"this is not JSON ({raw})"))
            continue
        try:
            entry = WinogroundExample.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        pairs = (entry.image_0, entry.caption_0), (entry.image_1, entry.caption_1)
        rows += [
            describe_image(f"{entry.id}-{number}", image_id, prompt, caption) | {"problem": known.refused.get(image_id)}
            for number, (image_id, caption) in enumerate(pairs)
        ]
    return each_once(rows, skipped)


def _access(path: Path) -> Access:
    expected = "whether Winoground could be fetched"
    try:
        return Access.model_validate(read_json(path, expected))
    except ValidationError as error:
        raise DatasetError(
            f"{path}: this file does not state {expected}; delete it and run the same command again"
        ) from error


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """(id of its example, or else its number; its content, or the error if it is not JSON) for each line of a file."""
    expected = "examples of Winoground, one JSON object per line"
    for number, entry in read_lines(path, expected):
        ((name, _),) = named([entry], "id")
        yield (f"line {number}" if name == "entry 1" else name), entry
