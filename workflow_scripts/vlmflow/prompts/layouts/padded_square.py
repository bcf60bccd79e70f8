"""One view of an image, enlarged or reduced to its longer side and padded to a square."""

import math
from typing import Any

from .base import ImageLayout, processor_name
from .patch_map import PatchMap, View


class PaddedSquareLayout(ImageLayout):
    """The image resized to fit into a square, in whose middle it lies, on a plain colour (Janus, DeepSeek-VL)."""

    def fits(self, processor: Any) -> bool:
        """Whether it is Janus's or DeepSeek-VL's processor."""
        return processor_name(processor) in ("JanusProcessor", "DeepseekVLProcessor")

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        images = processor.image_processor
        side, cells = images.size["height"], math.isqrt(processor.num_image_tokens)
        # The square grows where the shorter side would become less than the smallest one.
        lengths = [max(round(length * side / max(size)), images.min_size) for length in size]
        square = max(lengths)
        new_width, new_height = lengths
        view = View(
            rows=cells,
            columns=cells,
            patch=square // cells,
            scale_x=new_width / size[0],
            scale_y=new_height / size[1],
            shift_x=float((square - new_width) // 2),
            shift_y=float((square - new_height) // 2),
        )
        return PatchMap((view,), cells * cells, size)
