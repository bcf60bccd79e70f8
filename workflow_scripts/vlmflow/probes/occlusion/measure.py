"""Loss without single cells of the image; [thesis]."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.data.open_image import open_picture
from vlmflow.errors import GeometryError
from vlmflow.probes.answer_loss import intact_loss, losses_without, reference
from vlmflow.probes.context import Asking, Row
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.registry import find_patch_map


def _without(image: Tensor, kept: Sequence[int]) -> Tensor:
    dropped = torch.ones(len(image), dtype=torch.bool)
    dropped[list(kept)] = False
    return image[dropped]


def places(asking: Asking, row: Row, prompt: Prompt, grid: int) -> pl.DataFrame:
    """What each cell of a grid over the picture contributes: how much the reference answer's loss grows without it.

    Args:
        asking: model and questions.
        row: of the question, with `token_ids` of what the model answered.
        prompt: the question's.
        grid: cells a side.

    Returns:
        one row: grid, loss (of the intact model, nats a token), growth (list of nats a token, cell by cell, row by
        row).

    Raises:
        GeometryError: the picture's tokens are no patches, or there are fewer patches than cells.
    """
    cells = cells_of(asking, row, grid)
    asked = reference(asking.vlm, prompt, row["answer"], row["token_ids"])
    image = asked.prompt.positions("image")
    recording = asking.vlm.record(asked.prompt)
    intact = intact_loss(asking.vlm, asked, recording)
    without = losses_without(asking.vlm, asked, recording, [image[cell] for cell in cells])
    return pl.DataFrame(
        {"grid": [grid], "loss": [intact], "growth": [[each - intact for each in without]]},
        schema_overrides={"grid": pl.Int32},
    )


def cells_of(asking: Asking, row: Row, grid: int) -> list[Tensor]:
    """The tokens (numbers among the picture's) of each cell, in all views: those whose patch has its middle there.

    Cells divide what the first view shows of the picture.
    """
    found = find_patch_map(asking.vlm.processor, open_picture(row["image"]).size)
    first = found.views[0]
    across, down = first.columns * first.patch, first.rows * first.patch
    cells: list[list[int]] = [[] for _ in range(grid * grid)]
    for view in found.views:
        for (line, column), token in np.ndenumerate(view.tokens):
            # The patch's middle in the picture, and from there in the first view.
            x = ((column + 0.5) * view.patch - view.shift_x) / view.scale_x * first.scale_x + first.shift_x
            y = ((line + 0.5) * view.patch - view.shift_y) / view.scale_y * first.scale_y + first.shift_y
            place = [min(grid - 1, max(0, int(value * grid))) for value in (y / down, x / across)]
            cells[place[0] * grid + place[1]].append(int(token))
    if empty := sum(not cell for cell in cells):
        raise GeometryError(
            f"{empty} of {grid} × {grid} cells hold no patch: the picture has {first.rows} × {first.columns}; a "
            "smaller grid fits"
        )
    return [torch.tensor(sorted(cell)) for cell in cells]
