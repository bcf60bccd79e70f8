"""The ways in which images become tokens, and which of them a processor has."""

from typing import Any

import numpy as np
from PIL import Image

from vlmflow.errors import GeometryError

from .any_resolution import AnyResolutionLayout
from .base import ImageLayout, PatchMap, processed_pixels
from .query_tokens import QueryTokensLayout
from .square import SquareLayout

# Of which at most one fits a processor; docs/models.md describes each.
LAYOUTS: tuple[ImageLayout, ...] = (SquareLayout(), AnyResolutionLayout(), QueryTokensLayout())


def find_layout(processor: Any) -> ImageLayout:
    """The way in which a processor turns images into tokens.

    Raises:
        GeometryError: none that is known here.
    """
    for layout in LAYOUTS:
        if layout.fits(processor):
            return layout
    raise GeometryError(f"{type(processor).__name__} cuts images in a way that has no patch map yet")


def find_patch_map(processor: Any, size: tuple[int, int]) -> PatchMap:
    """How `processor` lays an image of `size` (width, height) on its tokens.

    Raises:
        GeometryError: the processor cuts images in a way that is not known here, or its tokens are no patches.
    """
    return find_layout(processor).patch_map(processor, size)


def find_views(processor: Any, image: Image.Image) -> tuple[PatchMap, list[np.ndarray]]:
    """(how the image lies on its tokens, the pixels of each view: (3, height, width) from 0 to 255).

    Raises:
        GeometryError: as `find_patch_map`.
    """
    layout = find_layout(processor)
    found = layout.patch_map(processor, image.size)
    return found, layout.view_pixels(processor, found, processed_pixels(processor, image))
