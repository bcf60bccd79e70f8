"""One view of an image, as in LLaVA-1.5: padded to a square if the processor does so, resized, and cropped."""

import math
from typing import Any

import numpy as np
from PIL import Image

from vlmflow.engine.internals import get_resize_output_image_size
from vlmflow.errors import GeometryError

from .base import ImageLayout, processed_pixels
from .llava import check_tokens, counts_patches, cuts_tiles, keeps_class_token, with_class_tokens
from .patch_map import PatchMap, View


class SquareLayout(ImageLayout):
    """The image resized and cropped at the centre, or first padded to a square; its patches row by row."""

    shows_pixels = True

    def fits(self, processor: Any) -> bool:
        """Whether the processor is of LLaVA's kind and cuts no tiles."""
        return counts_patches(processor) and not cuts_tiles(processor)

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view."""
        view = _view(processor.image_processor, processor.patch_size, size)
        found = PatchMap((view,), view.rows * view.columns, size)
        if keeps_class_token(processor):
            found = with_class_tokens(processor, found)
        check_tokens(processor, found)
        return found

    def view_pixels(self, processor: Any, found: PatchMap, image: Image.Image) -> list[np.ndarray]:  # noqa: ARG002
        """The pixel values (3, height, width) themselves."""
        return [processed_pixels(processor, image)[0]]


def _view(images: Any, patch: int, size: tuple[int, int]) -> View:
    width, height = size
    pad_x = pad_y = 0.0
    if getattr(images, "do_pad", None):
        side = max(width, height)
        pad_x, pad_y = float((side - width) // 2), float((side - height) // 2)
        width = height = side
    new_width, new_height = _resized(images, width, height)
    scale_x, scale_y = new_width / width, new_height / height
    kept_width, kept_height, left, top = new_width, new_height, 0, 0
    if getattr(images, "do_center_crop", None):
        kept_width, kept_height = images.crop_size["width"], images.crop_size["height"]
        left, top = _crop_start(new_width, kept_width), _crop_start(new_height, kept_height)
    return View(
        rows=kept_height // patch,
        columns=kept_width // patch,
        patch=patch,
        scale_x=scale_x,
        scale_y=scale_y,
        shift_x=scale_x * pad_x - left,
        shift_y=scale_y * pad_y - top,
    )


def _resized(images: Any, width: int, height: int) -> tuple[int, int]:
    """(width, height) after resizing."""
    size = images.size
    if not images.do_resize:
        return width, height
    if size.get("shortest_edge") and not size.get("longest_edge"):
        blank = np.empty((1, height, width), dtype=np.uint8)
        new_height, new_width = get_resize_output_image_size(
            blank, size["shortest_edge"], default_to_square=False, input_data_format="channels_first"
        )
        return new_width, new_height
    if size.get("height") and size.get("width"):
        return size["width"], size["height"]
    raise GeometryError(f"the image size {dict(size)} of the processor has no patch map yet")


def _crop_start(length: int, kept: int) -> int:
    """The start of the centre crop; negative if the image is smaller and gets a black border instead."""
    return (length - kept) // 2 if length >= kept else -math.ceil((kept - length) / 2)
