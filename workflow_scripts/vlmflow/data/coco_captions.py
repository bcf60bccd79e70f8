"""The captions of COCO 2017: images to be described, each with a caption that somebody wrote."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from vlmflow.settings import Url

from .base import Download, Files, path_of
from .caption_questions import DESCRIBE_IMAGE, Prompt, Text, describe_image
from .coco import COCO_URL, VAL_2017, CocoDataset
from .coco import FOLDER as COCO_FOLDER
from .entries import Loose, Pixels, Rows, each_once, malformed, named, read_entries

COCO_CAPTIONS_URL = f"{COCO_URL}/annotations/annotations_trainval2017.zip"
MEMBER = "annotations/captions_val2017.json"
FILE = f"{COCO_FOLDER}/{MEMBER}"


def _check_zip(url: str) -> str:
    if not urlsplit(url).path.endswith(".zip"):
        raise ValueError(f"{url!r} is not the address of a .zip archive")
    return url


class CocoCaptionsDataset(CocoDataset):
    """COCO 2017, validation split: images to be described, each with a caption that somebody wrote."""

    source: Literal["coco-captions"]
    url: Annotated[Url, AfterValidator(_check_zip)] = Field(
        COCO_CAPTIONS_URL, description="The archive of annotations, a .zip."
    )
    prompt: Prompt = DESCRIBE_IMAGE

    image_name = VAL_2017
    row_settings: ClassVar[frozenset[str]] = frozenset({"prompt"})

    def files(self) -> Files:
        """One file of captions."""
        return {"questions": FILE}

    def downloads(self) -> dict[str, Download]:
        """The file out of the archive."""
        return {FILE: Download(self.url, MEMBER)}

    def addresses(self) -> dict[str, str]:
        """The addresses of captions and images."""
        return {"COCO's captions": self.url} | super().addresses()

    def read(self, files: Files) -> Rows:
        """A row for each image."""
        return read_coco_captions(path_of(files, "questions"), self.prompt)


class CocoCaption(Loose):
    id: int
    image_id: str = Field(min_length=1)
    caption: Text


class CocoImage(Loose):
    id: str
    width: Pixels
    height: Pixels


def read_coco_captions(captions: Path, prompt: str) -> Rows:
    """Rows of the tables `questions` and `skipped`: one question per image, with its caption of the lowest
    id.

    Args:
        captions: COCO's file of captions.
        prompt: the question that is asked about every image.

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
        describe_image(str(entry.id), image_id, prompt, entry.caption) | sizes.get(image_id, {})
        for image_id, entry in chosen.items()
    ]
    return each_once(rows, skipped)


def _sizes(captions: Path) -> dict[str, dict[str, int]]:
    """Image id → its width and height, of those images whose size is given."""
    sizes = {}
    for raw in read_entries(captions, "images", absent=[]):
        try:
            image = CocoImage.model_validate(raw)
        except ValidationError:
            continue
        sizes[image.id] = {"width": image.width, "height": image.height}
    return sizes
