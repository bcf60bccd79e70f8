"""From a row of the tables to a prompt, an answer, a measurement."""

from collections.abc import Callable
from typing import Any

import polars as pl
from PIL import Image, UnidentifiedImageError

from .edges import Edge
from .geometry import Box, GeometryError, patch_grid
from .jobs import QuestionError
from .models import VisionLanguageModel
from .probes import measure
from .prompts import Prompt, PromptError
from .replay import ReplayError
from .study import KnockoutProbe, Probe

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
    """The prompt of a question row that carries its row of the table `patches`, or nulls where it has none."""
    # The boxes have become patches already; here the objects are only words of the question.
    objects: dict[str, list[Box]] = {item["name"]: [] for item in row["objects"]}
    options = (row["true_option"], row["false_option"]) if row["true_option"] is not None else None
    try:
        return vlm.prompt(
            open_picture(row["image"]),
            row["question"],
            objects=objects,
            options=options,
            patches=row["related"],
            patch_count=row["rows"] * row["columns"] if row["related"] is not None else None,
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


def prober(
    vlm: VisionLanguageModel, probe: Probe, instruction: str, leave_out: Callable[[str, str], None]
) -> Callable[[Row], pl.DataFrame]:
    """What to do with a question row to get the probe's rows of it.

    An edge whose segments this question does not have (a box outside of what the model sees, no options) is left out
    for this question, and `leave_out` is told the question's id and why; its other edges are measured.
    """

    def work(row: Row) -> pl.DataFrame:
        prompt = prompt_of(vlm, row, instruction)
        fitting = probe
        if isinstance(probe, KnockoutProbe):
            absent = {edge: why for edge in probe.edges if (why := _why_absent(prompt, edge))}
            for edge, why in absent.items():
                leave_out(row["question_id"], f"{edge}: {why}")
            fitting = probe.model_copy(update={"edges": [edge for edge in probe.edges if edge not in absent]})
            if not fitting.edges:
                raise QuestionError("no edge of the probe is left")
        try:
            rows = measure(vlm, prompt, fitting, row)
        except (PromptError, ReplayError) as error:
            raise QuestionError(str(error)) from error
        return rows.with_columns(question_id=pl.lit(row["question_id"]), image_id=pl.lit(row["image_id"]))

    return work


def _why_absent(prompt: Prompt, text: str) -> str | None:
    edge = Edge.parse(text)
    try:
        prompt.positions(edge.source), prompt.positions(edge.target)
    except PromptError as error:
        return str(error)
    return None
