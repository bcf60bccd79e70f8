"""Attention weights and norms as maps over the image; [thesis]."""

from collections.abc import Sequence

import polars as pl

from vlmflow.data.open_image import open_image
from vlmflow.errors import PromptError
from vlmflow.models.vision_language import VisionLanguageModel
from vlmflow.probes.attention_map import AttentionMapProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt


def measure(probe: AttentionMapProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `attention map` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    present = [target for target in probe.targets if target in prompt.segments]
    for target in probe.targets:
        if target not in present:
            why = prompt.missing.get(target, "it does not hold this text")
            context.leave_out(question, target, f"this prompt has no such segment: {why}")
    if not present:
        raise PromptError(f"this prompt has none of the segments {', '.join(probe.targets)}")
    return attention_map(context.image_model, prompt, question.image, present)


def attention_map(vlm: VisionLanguageModel, prompt: Prompt, image: str, targets: Sequence[str]) -> pl.DataFrame:
    """How much each target attends to each patch of the whole image, in every layer.

    If an image is cut into several views, such as tiles, the map is on the view that shows the whole image.

    Args:
        vlm, prompt: the model and a prompt for it.
        image: path of the prompt's image.
        targets: segments of the prompt.

    Returns:
        columns target, layer, rows, columns, weight, share (lists, row by row: percent of the target's attention, and
        of the norms from all positions).

    Raises:
        GeometryError: the image's tokens are no patches.
    """
    patch_map = vlm.patch_maps.find(open_image(image).size)
    cells = patch_map.views[patch_map.whole].tokens
    positions = prompt.positions("image")[cells.flatten()]
    parts = []
    for target, stats in vlm.attention_stats(prompt, targets).items():
        values = {"weight": 100 * stats.weights[:, positions], "share": 100 * stats.shares[:, positions]}
        parts.append(
            pl.DataFrame(
                {
                    "target": target,
                    "layer": stats.numbers,
                    "rows": cells.shape[0],
                    "columns": cells.shape[1],
                    **{name: value.tolist() for name, value in values.items()},
                },
                schema_overrides={"layer": pl.Int32},
            )
        )
    return pl.concat(parts)
