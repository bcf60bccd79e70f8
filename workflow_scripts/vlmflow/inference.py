"""From a row of the tables to a prompt, an answer, a measurement."""

from collections.abc import Callable
from typing import Any

import polars as pl
from PIL import Image, UnidentifiedImageError

from .geometry import GeometryError, patch_grid
from .jobs import QuestionError
from .models import VisionLanguageModel
from .probes import measure
from .prompts import Prompt, PromptError
from .replay import ReplayError
from .study import Probe

Row = dict[str, Any]


def open_picture(path: str) -> Image.Image:
    """The whole picture in RGB.

    Raises:
        QuestionError: the file is missing, cut off, no picture, or absurdly large.
    """
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise QuestionError(f"the picture {path} cannot be read: {error}") from error


def map_patches(processor: Any, row: Row) -> Row:
    """A row of the table `patches`."""
    boxes = [(o["x"], o["y"], o["w"], o["h"]) for o in row["objects"] if o["x"] is not None]
    try:
        if not boxes:
            raise GeometryError("the question has no box: none of its objects is in the scene graph")
        picture = open_picture(row["image"])
        if (row["width"], row["height"]) != picture.size:
            raise GeometryError(
                f"the scene graph was made for {row['width']} × {row['height']} pixels, the picture has "
                f"{picture.width} × {picture.height}"
            )
        grid = patch_grid(processor, picture.size)
        related = grid.related(boxes)
    except GeometryError as error:
        raise QuestionError(str(error)) from error
    return {"question_id": row["question_id"], "rows": grid.rows, "columns": grid.columns, "related": related}


def prompt_of(vlm: VisionLanguageModel, row: Row, instruction: str) -> Prompt:
    """The prompt of a question row that carries `related`, its patches."""
    objects: dict[str, list] = {}
    for item in row["objects"]:
        objects.setdefault(item["name"], [])
    options = (row["true_option"], row["false_option"]) if row["true_option"] is not None else None
    try:
        return vlm.prompt(
            open_picture(row["image"]),
            row["question"],
            objects=objects,
            options=options,
            patches=row["related"],
            instruction=instruction,
        )
    except PromptError as error:
        raise QuestionError(str(error)) from error


def answer_question(vlm: VisionLanguageModel, row: Row, instruction: str) -> Row:
    """A row of the table `answers`."""
    answer = vlm.answer(prompt_of(vlm, row, instruction))
    if not answer.token_ids:
        raise QuestionError("the model's answer is empty")
    return {
        "question_id": row["question_id"],
        "image_id": row["image_id"],
        "predicted": answer.text,
        "answer": row["answer"],
        "correct": answer.text.strip().lower() == row["answer"],
        "probability": answer.probability,
        "token_ids": answer.token_ids,
    }


def prober(vlm: VisionLanguageModel, probe: Probe, instruction: str) -> Callable[[Row], pl.DataFrame]:
    """What to do with a question row to get the probe's rows of it."""

    def work(row: Row) -> pl.DataFrame:
        prompt = prompt_of(vlm, row, instruction)
        try:
            rows = measure(vlm, prompt, probe, row)
        except (PromptError, ReplayError) as error:
            raise QuestionError(str(error)) from error
        return rows.with_columns(question_id=pl.lit(row["question_id"]), image_id=pl.lit(row["image_id"]))

    return work
