"""Two views of an image, as in LLaVA-OneVision: as in LLaVA-NeXT, but a grid of many patches is reduced."""

import math
from dataclasses import replace
from typing import Any

from .any_resolution import AnyResolutionLayout
from .base import ImageLayout, processor_name
from .patch_map import View

# A grid is reduced only if that changes the length of its sides by more than this factor.
WORTH_REDUCING = 1.1


class OneVisionLayout(AnyResolutionLayout):
    """As `AnyResolutionLayout`; a grid with more patches than a given number of tiles is reduced by interpolation."""

    shows_pixels = False

    view_pixels = ImageLayout.view_pixels

    def fits(self, processor: Any) -> bool:
        """Whether it is LLaVA-OneVision's processor."""
        return processor_name(processor) == "LlavaOnevisionProcessor"

    def sides(self, processor: Any) -> tuple[int, int]:
        """(side of a patch, side of a tile) in pixels."""
        tile = processor.image_processor.size["height"]
        return tile // math.isqrt(processor.num_image_tokens), tile

    def reduced(self, processor: Any, tiled: View, side: int) -> View:
        """The view with fewer and larger patches, where there are more than the setting `anyres_max_…` allows."""
        tiles = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(tiled.rows * tiled.columns / (tiles * side**2))
        if ratio <= WORTH_REDUCING:
            return tiled
        rows, columns = int(tiled.rows // ratio), int(tiled.columns // ratio)
        down, across = rows / tiled.rows, columns / tiled.columns
        return replace(
            tiled,
            rows=rows,
            columns=columns,
            scale_x=tiled.scale_x * across,
            scale_y=tiled.scale_y * down,
            shift_x=tiled.shift_x * across,
            shift_y=tiled.shift_y * down,
        )
