"""One view of an image, reduced to fit into a square, and squeezed to complete patches."""

from typing import Any

from PIL import Image

from .base import ImageLayout, processed, processor_name, squeezed_view
from .patch_map import PatchMap


class AlignedGridLayout(ImageLayout):
    """The image reduced to the largest size, and squeezed to complete patches; row by row (Pixtral, Mistral 3,
    LightOnOCR)."""

    def fits(self, processor: Any) -> bool:
        """Whether it is one of Pixtral's kind."""
        return processor_name(processor) in ("PixtralProcessor", "LightOnOcrProcessor")

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        height, width = processed(processor, Image.new("RGB", size))["image_sizes"][0]
        patch = processor.patch_size * processor.spatial_merge_size
        rows, columns = int(height) // patch, int(width) // patch
        return PatchMap((squeezed_view(size, rows, columns, patch),), rows * columns, size)
