"""One view of an image, squeezed to a grid whose numbers of rows and columns the processor gives to the model."""

from typing import Any

from PIL import Image

from .base import ImageLayout, processed, processor_name, squeezed_view
from .patch_map import PatchMap

# HunYuan's has other tokens between the rows.
OTHERS = ("HunYuanVLProcessor",)


class GridLayout(ImageLayout):
    """The image squeezed to a grid of patches, each of several of the encoder's; row by row (Qwen-VL, GLM-V)."""

    def fits(self, processor: Any) -> bool:
        """Whether the image processor counts patches, and merges some."""
        images = getattr(processor, "image_processor", None)
        counts = "image_grid_thw" in getattr(images, "model_input_names", ())
        return counts and hasattr(images, "merge_size") and processor_name(processor) not in OTHERS

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        rows, columns = merged_grid(processor, size)
        images = processor.image_processor
        return PatchMap(
            (squeezed_view(size, rows, columns, images.patch_size * images.merge_size),), rows * columns, size
        )


def merged_grid(processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of the tokens of an image of `size` (width, height)."""
    _, rows, columns = processed(processor, Image.new("RGB", size))["image_grid_thw"][0]
    merged = processor.image_processor.merge_size
    return int(rows) // merged, int(columns) // merged
