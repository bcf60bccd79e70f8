"""POPE (Li et al. 2023): whether an object is in an image of COCO 2014, with objects that are not there chosen in three
ways."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from vlmflow.settings import Url

from .base import Download, Files, path_of
from .coco import VAL_2014, CocoDataset
from .entries import Loose, Rows, absent_object, bare_question, each_once, malformed, read_lines

POPE_URL = "https://raw.githubusercontent.com/AoiDragon/POPE/main/output/coco"
FOLDER = "resources/pope"
# How the objects that are not in an image were chosen: at random, among frequent ones, or among those that often occur
# beside the objects that are there.
SPLITS = ("random", "popular", "adversarial")
IMAGE_NAME = re.compile(r"(?:COCO_val2014_)?0*(\d+)(?:\.\w+)?")
OBJECT = re.compile(r"is there an? (.+?) in the iman?ge", re.IGNORECASE)  # some have "imange"


class PopeDataset(CocoDataset):
    """POPE: questions on whether an object is in an image of COCO 2014; the detailed type is the split."""

    source: Literal["pope"]
    base_url: Url = Field(POPE_URL, description="Address of the folder of the three files of questions.")

    image_name = VAL_2014
    detailed_types = SPLITS

    def files(self) -> Files:
        """One file per split."""
        return {split: f"{FOLDER}/{_name(split)}" for split in SPLITS}

    def downloads(self) -> dict[str, Download]:
        """Each file from its address."""
        return {f"{FOLDER}/{_name(split)}": Download(f"{self.base_url}/{_name(split)}") for split in SPLITS}

    def addresses(self) -> dict[str, str]:
        """The addresses of questions and images."""
        return {"POPE": self.base_url} | super().addresses()

    def read(self, files: Files) -> Rows:
        """A row for each question of each split."""
        parts = [read_pope(path_of(files, split), split) for split in SPLITS]
        return each_once([row for rows, _ in parts for row in rows], [row for _, skipped in parts for row in skipped])


def _name(split: str) -> str:
    return f"coco_pope_{split}.json"


def _image_number(name: str) -> str:
    match = IMAGE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of an image of COCO 2014")
    return match[1]


class PopeQuestion(Loose):
    question_id: str = Field(min_length=1)
    image: Annotated[str, AfterValidator(_image_number)]
    text: str = Field(min_length=1)
    label: Literal["yes", "no"]


def read_pope(path: Path, split: str) -> Rows:
    """Rows of the tables `questions` and `skipped`: every line of the file is in one of the two.

    Args:
        path: one JSON object per line.
        split: of the file; it begins each question's id, since the ids of the three files are the same numbers.

    Raises:
        DatasetError: the file is missing, or no line of it is a JSON object.
    """
    rows, skipped = [], []
    for number, raw in read_lines(path, "one question of POPE per line"):
        own = raw.get("question_id") if isinstance(raw, dict) else None
        name = f"{split}-{own}" if isinstance(own, str | int) and own != "" else f"{split}, line {number}"
        try:
            rows.append(_row(name, PopeQuestion.model_validate(raw), split))
        except ValidationError as error:
            skipped.append(malformed(name, error))
    return rows, skipped


def _row(name: str, entry: PopeQuestion, split: str) -> dict[str, Any]:
    row = bare_question(name, entry.image, entry.text, entry.label, ("verify", "obj", split))
    named = OBJECT.search(entry.text)
    # There are no boxes: that of an object in the image is not published with the questions.
    return row | {"objects": [absent_object(named[1])] if named else []}
