"""Loss without single cells of the image; [thesis]."""

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
from vlmflow.prompts.layouts.patch_maps import PatchMaps


def measure(probe: OcclusionProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """A row of the table `places` for one question; see `Probe.measure`."""
    return occlusion(context, question, context.prompt(question), probe.grid)


def occlusion(context: ProbeContext, question: Question, prompt: Prompt, grid: int) -> pl.DataFrame:
    """The increase of the reference answer's loss without each cell of a grid over the image.

    Args:
        context: the model.
        question: the measured question.
        prompt: the prompt of the question.
        grid: cells per side.

    Returns:
        one row: grid, loss (of the intact model, nats per token), growth (list of nats per token, cell by cell, row by
        row).

    Raises:
        GeometryError: the image's tokens are no patches, or there are fewer patches than cells.
    """
    vlm = context.vlm
    cells = cells_of(context.image_model.patch_maps, question.image, grid)
    reference = reference_answer(vlm, prompt, question.answer, question.token_ids)
    image = reference.prompt.positions("image")
    recording = vlm.record(reference.prompt)
    intact = intact_loss(vlm, reference, recording)
    without = losses_without(vlm, reference, recording, [image[cell] for cell in cells])
    return pl.DataFrame(
        {"grid": [grid], "loss": [intact], "loss_increase": [[each - intact for each in without]]},
        schema_overrides={"grid": pl.Int32},
    )


def cells_of(patch_maps: PatchMaps, image: str, grid: int) -> list[Tensor]:
    """The image tokens, by number, of each cell in all views: those whose patch has its middle in the cell.

    The cells divide the part of the image that the view of the whole image shows.

    Args:
        patch_maps: of the model.
        image: path of the image.
        grid: cells per side.

    Raises:
        GeometryError: the image's tokens are no patches, or a cell holds no patch.
    """
    patch_map = patch_maps.find(open_image(image).size)
    first = patch_map.views[patch_map.whole]
    across, down = first.columns * first.patch, first.rows * first.patch
    cells: list[list[int]] = [[] for _ in range(grid * grid)]
    for view in patch_map.views:
        for (line, column), token in np.ndenumerate(view.tokens):
            # The patch's middle in the image, and from there in the first view.
            x = ((column + 0.5) * view.patch - view.shift_x) / view.scale_x * first.scale_x + first.shift_x
            y = ((line + 0.5) * view.patch - view.shift_y) / view.scale_y * first.scale_y + first.shift_y
            row_and_column = [min(grid - 1, max(0, int(value * grid))) for value in (y / down, x / across)]
            cells[row_and_column[0] * grid + row_and_column[1]].append(int(token))
    if empty := sum(not cell for cell in cells):
        raise GeometryError(
            f"{empty} of {grid} × {grid} cells hold no patch, since the image has {first.rows} × {first.columns} "
            "patches; give a smaller grid"
        )
    return [torch.tensor(sorted(cell)) for cell in cells]
