"""One view of an image on a grid, with a token before it, one after each row, and one behind it."""

from typing import Any

from .base import ImageLayout, processor_name, squeezed_view
from .grid import merged_grid
from .patch_map import PatchMap


class GridWithRowEndsLayout(ImageLayout):
    """The image squeezed to a grid of patches, with a token at the end of each row and at both ends (HunYuan-VL)."""

    def fits(self, processor: Any) -> bool:
        """Whether it is HunYuan's processor."""
        return processor_name(processor) == "HunYuanVLProcessor"

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view, which begins with the second token."""
        rows, columns = merged_grid(processor, size)
        images = processor.image_processor
        view = squeezed_view(size, rows, columns, images.patch_size * images.merge_size, first=1, row_ends=1)
        return PatchMap((view,), rows * (columns + 1) + 2, size)
