"""One view of an image, squeezed to as many patches as are allowed, of which some are pooled to one token."""

from typing import Any

from PIL import Image

from .base import ImageLayout, processed, processor_name, squeezed_view
from .patch_map import PatchMap


class PooledGridLayout(ImageLayout):
    """The image squeezed to a grid of patches, of which square blocks are pooled; row by row (Gemma 4)."""

    def fits(self, processor: Any) -> bool:
        """Whether it is Gemma 4's processor."""
        return processor_name(processor) == "Gemma4Processor"

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        images = processor.image_processor
        # (patches, 2): column and row of each patch, −1 where there is none.
        positions = processed(processor, Image.new("RGB", size))["image_position_ids"][0]
        columns, rows = (int(last) + 1 for last in positions.max(axis=0))
        pooled = images.pooling_kernel_size
        view = squeezed_view(size, rows // pooled, columns // pooled, images.patch_size * pooled)
        return PatchMap((view,), view.rows * view.columns, size)
