"""Related patches as the published code of [flow] finds them: boxes are painted, and the painted pixels are
searched."""

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from vlmflow.errors import GeometryError

from .patch_map import Box, clipped
from .registry import find_layout, find_patch_map, find_views

RED, GREEN = (255, 0, 0), (0, 255, 0)


def painted_patches(processor: Any, size: tuple[int, int], boxes: Sequence[Box]) -> list[int]:
    """The sorted indices, among the image's tokens, of the patches with a pixel of the pure colour.

    The boxes are painted red on green, both ends included, and sent through the processor without normalisation; a
    patch is related if at least one of its pixels is still purely red.

    Args:
        processor: with a patch map.
        size: width and height of the image in pixels.
        boxes: (x, y, width, height) in pixels of the image.

    Raises:
        GeometryError: no patch has such a pixel, a box lies completely outside of the part of the image that reaches
            the model, or the processor has no patch map, or is not of LLaVA's kind.
    """
    find_patch_map(processor, size).related(boxes)  # both rules refuse boxes that lie outside
    if not find_layout(processor).shows_pixels:
        raise GeometryError(
            f"the painted rule is defined for processors of LLaVA's kind, not for {type(processor).__name__}; use "
            "`patch_rule: overlap`"
        )
    canvas = Image.new("RGB", size, GREEN)
    brush = ImageDraw.Draw(canvas)
    for box in boxes:
        x, y, width, height = clipped(box, size)
        brush.rectangle((x, y, x + width, y + height), fill=RED)
    patch_map, pixels = find_views(processor, canvas)
    related: list[int] = []
    for view, view_pixels in zip(patch_map.views, pixels, strict=True):
        pure = (view_pixels[0] == RED[0]) & (view_pixels[1] == RED[1]) & (view_pixels[2] == RED[2])
        blocks = pure[: view.rows * view.patch, : view.columns * view.patch]
        blocks = blocks.reshape(view.rows, view.patch, view.columns, view.patch).any(axis=(1, 3))
        related.extend(view.tokens[blocks].tolist())
    if not related:
        raise GeometryError("no patch holds a pixel that is covered by the boxes alone")
    return sorted(related)
