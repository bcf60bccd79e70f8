"""Loss without single cells of the image; [thesis]."""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.data.open_image import open_image
from vlmflow.errors import GeometryError
from vlmflow.probes.answer_loss import intact_loss, losses_without, reference_answer
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.occlusion import OcclusionProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.registry import find_patch_map


def measure(probe: OcclusionProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """A row of the table `places` for one question; see `Probe.measure`."""
    return occlusion(context, question, context.prompt(question), probe.grid)


def occlusion(context: ProbeContext, question: Question, prompt: Prompt, grid: int) -> pl.DataFrame:
    """How much the reference answer's loss grows without each cell of a grid over the image.

    Args:
        context: the model.
        question: what is measured.
        prompt: the question's.
        grid: cells per side.

    Returns:
        one row: grid, loss (of the intact model, nats per token), growth (list of nats per token, cell by cell, row by
        row).

    Raises:
        GeometryError: the image's tokens are no patches, or there are fewer patches than cells.
    """
    vlm = context.vlm
    cells = cells_of(vlm.processor, question.image, grid)
    asked = reference_answer(vlm, prompt, question.answer, question.token_ids)
    image = asked.prompt.positions("image")
    recording = vlm.record(asked.prompt)
    intact = intact_loss(vlm, asked, recording)
    without = losses_without(vlm, asked, recording, [image[cell] for cell in cells])
    return pl.DataFrame(
        {"grid": [grid], "loss": [intact], "loss_increase": [[each - intact for each in without]]},
        schema_overrides={"grid": pl.Int32},
    )


def cells_of(processor: Any, image: str, grid: int) -> list[Tensor]:
    """The tokens (numbers among the image's) of each cell, in all views: those whose patch has its middle there.

    Cells divide what the first view shows of the image.

    Args:
        processor: the model's.
        image: path.
        grid: cells per side.

    Raises:
        GeometryError: the image's tokens are no patches, or a cell holds none.
    """
    found = find_patch_map(processor, open_image(image).size)
    first = found.views[0]
    across, down = first.columns * first.patch, first.rows * first.patch
    cells: list[list[int]] = [[] for _ in range(grid * grid)]
    for view in found.views:
        for (line, column), token in np.ndenumerate(view.tokens):
            # The patch's middle in the image, and from there in the first view.
            x = ((column + 0.5) * view.patch - view.shift_x) / view.scale_x * first.scale_x + first.shift_x
            y = ((line + 0.5) * view.patch - view.shift_y) / view.scale_y * first.scale_y + first.shift_y
            place = [min(grid - 1, max(0, int(value * grid))) for value in (y / down, x / across)]
            cells[place[0] * grid + place[1]].append(int(token))
    if empty := sum(not cell for cell in cells):
        raise GeometryError(
            f"{empty} of {grid} × {grid} cells hold no patch: the image has {first.rows} × {first.columns}; a "
            "smaller grid fits"
        )
    return [torch.tensor(sorted(cell)) for cell in cells]
