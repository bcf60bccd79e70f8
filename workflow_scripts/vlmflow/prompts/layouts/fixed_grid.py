"""One view of an image, squeezed to a square with a fixed number of tokens."""

import math
from typing import Any

from vlmflow.errors import GeometryError

from .base import ImageLayout, processor_name, squeezed_view
from .patch_map import PatchMap


class FixedGridLayout(ImageLayout):
    """The image squeezed to a square; each of a fixed number of tokens stands for one cell of a grid (Gemma 3,
    PaliGemma)."""

    def fits(self, processor: Any) -> bool:
        """Whether it is Gemma 3's or PaliGemma's processor."""
        return processor_name(processor) in ("Gemma3Processor", "PaliGemmaProcessor")

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        images = processor.image_processor
        if getattr(images, "do_pan_and_scan", False):
            raise GeometryError("images of which parts are cut out and enlarged (pan and scan) have no patch map yet")
        cells = math.isqrt(processor.image_seq_length)
        view = squeezed_view(size, cells, cells, images.size["height"] // cells)
        return PatchMap((view,), cells * cells, size)
