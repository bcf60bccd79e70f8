"""How many of the picture's tokens a model needs, and where they lie; [thesis]."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.data.open_image import open_picture
from vlmflow.errors import GeometryError, InterventionError, NotApplicableError, PromptError
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.geometry import patch_map
from vlmflow.tables import ALL_TOKENS

from .answer_loss import Reference, intact_loss, loss_without, losses_without, reference
from .context import Asking, Row


def budget(
    asking: Asking,
    row: Row,
    *,
    prompts: Mapping[str, str],
    keep: Sequence[str],
    draws: int,
    leave_out: Callable[[str], None],
) -> pl.DataFrame:
    """Loss of the reference answer with 0, 1, 2, 4, … all of the picture's tokens.

    Args:
        asking: model and questions.
        row: of the question, with `token_ids` of what the model answered.
        prompts: name → text, see `Asking.worded`.
        keep: which are kept: first, spread, random.
        draws: of random tokens, over which the loss is averaged; the same for every prompt and run.
        leave_out: told of a prompt that this question does not have, and why.

    Returns:
        columns prompt, keep, number (of tokens that are asked for; −1: all), kept (how many these are), loss (nats a
        token).

    Raises:
        NotApplicableError: no prompt is left.
    """
    rows: list[dict] = []
    for name, text in prompts.items():
        try:
            asked = reference(asking.vlm, asking.worded(row, text), row["answer"], row["token_ids"])
            found = list(_losses(asking, asked, keep, draws, str(row["question_id"])))
        except (PromptError, InterventionError) as error:
            leave_out(f"prompt {name}: {error}")
            continue
        rows += [{"prompt": name} | each for each in found]
    if not rows:
        raise NotApplicableError("no prompt of the probe is left")
    return pl.DataFrame(rows, schema_overrides={"number": pl.Int32, "kept": pl.Int32}, infer_schema_length=None)


def _losses(asking: Asking, asked: Reference, keep: Sequence[str], draws: int, seed: str) -> Iterator[dict]:
    """Of one prompt: a row a way and number."""
    recording = asking.vlm.record(asked.prompt)
    image = asked.prompt.positions("image")
    whole = intact_loss(asking.vlm, asked, recording)
    none = loss_without(asking.vlm, asked, recording, image)
    for way in keep:
        yield {"keep": way, "number": 0, "kept": 0, "loss": none}
        for number in numbers(len(image)):
            losses = [
                loss_without(asking.vlm, asked, recording, _without(image, some))
                for some in chosen(way, number, len(image), draws, seed)
            ]
            yield {"keep": way, "number": number, "kept": number, "loss": float(np.mean(losses))}
        yield {"keep": way, "number": ALL_TOKENS, "kept": len(image), "loss": whole}


def numbers(tokens: int) -> list[int]:
    """1, 2, 4, … less than so many tokens."""
    return [2**power for power in range(max(0, tokens - 1).bit_length())]


def chosen(way: str, number: int, tokens: int, draws: int, seed: str) -> list[list[int]]:
    """Which of the picture's tokens are kept, numbers from 0; several draws where they are random."""
    if way == "first":
        return [list(range(number))]
    if way == "spread":
        # The middles of so many equal parts.
        return [[int((part + 0.5) * tokens / number) for part in range(number)]]
    rng = np.random.default_rng([*seed.encode(), number])
    return [sorted(rng.choice(tokens, size=number, replace=False).tolist()) for _ in range(draws)]


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
    found = patch_map(asking.vlm.processor, open_picture(row["image"]).size)
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
