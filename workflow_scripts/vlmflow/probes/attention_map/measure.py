"""Attention weights and norms as maps over the image; [thesis]."""

from collections.abc import Callable, Sequence

import polars as pl

from vlmflow.data.open_image import open_picture
from vlmflow.errors import PromptError
from vlmflow.models.model import VisionLanguageModel
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.registry import find_patch_map


def attention_map(
    vlm: VisionLanguageModel, prompt: Prompt, picture: str, targets: Sequence[str], leave_out: Callable[[str], None]
) -> pl.DataFrame:
    """Which patches of the whole picture each target looks at, in every layer.

    Of a picture that is shown several times, as tiles, the first view is meant, which shows all of it.

    Args:
        vlm, prompt: the model and a prompt of it.
        picture: path of the prompt's picture.
        targets: segments.
        leave_out: told of those that the prompt does not have, and why.

    Returns:
        columns target, layer, rows, columns, weight, share (lists, row by row: percent of the target's attention, and
        of the norms from all positions).

    Raises:
        GeometryError: the picture's tokens are no patches.
        PromptError: the prompt has none of the targets.
    """
    there = [target for target in targets if target in prompt.segments]
    for target in targets:
        if target not in there:
            leave_out(
                f"{target}: this prompt has no such segment: {prompt.missing.get(target, 'it holds no such text')}"
            )
    if not there:
        raise PromptError(f"this prompt has none of the segments {', '.join(targets)}")
    cells = find_patch_map(vlm.processor, open_picture(picture).size).views[0].tokens
    places = prompt.positions("image")[cells.flatten()]
    parts = []
    for target, look in vlm.attention_stats(prompt, there).items():
        values = {"weight": 100 * look.weights[:, places], "share": 100 * look.shares[:, places]}
        parts.append(
            pl.DataFrame(
                {
                    "target": target,
                    "layer": range(len(look.weights)),
                    "rows": cells.shape[0],
                    "columns": cells.shape[1],
                    **{name: value.tolist() for name, value in values.items()},
                },
                schema_overrides={"layer": pl.Int32},
            )
        )
    return pl.concat(parts)
