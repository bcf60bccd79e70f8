"""The registry of layouts, and the layout of a given processor."""

from typing import Any

import numpy as np
from PIL import Image

from vlmflow.errors import GeometryError

from .aligned_grid import AlignedGridLayout
from .any_resolution import AnyResolutionLayout
from .base import ImageLayout
from .fixed_grid import FixedGridLayout
from .grid import GridLayout
from .grid_with_row_ends import GridWithRowEndsLayout
from .one_vision import OneVisionLayout
from .padded_square import PaddedSquareLayout
from .patch_map import PatchMap
from .pooled_grid import PooledGridLayout
from .query_tokens import QueryTokensLayout
from .square import SquareLayout
from .tiles import TilesAfterWholeLayout, TilesLayout

# At most one of them fits a processor; docs/models.md describes each.
LAYOUTS: tuple[ImageLayout, ...] = (
    SquareLayout(),
    AnyResolutionLayout(),
    OneVisionLayout(),
    GridLayout(),
    GridWithRowEndsLayout(),
    AlignedGridLayout(),
    PooledGridLayout(),
    FixedGridLayout(),
    PaddedSquareLayout(),
    TilesLayout(),
    TilesAfterWholeLayout(),
    QueryTokensLayout(),
)


def find_layout(processor: Any) -> ImageLayout:
    """The layout of a processor.

    Raises:
        GeometryError: no layout fits it.
    """
    for layout in LAYOUTS:
        if layout.fits(processor):
            return layout
    raise GeometryError(f"{type(processor).__name__} cuts images in a way that has no patch map yet")


def find_patch_map(processor: Any, size: tuple[int, int]) -> PatchMap:
    """The patch map of a processor for images of `size` (width, height).

    Raises:
        GeometryError: no layout fits the processor, or its tokens are not patches.
    """
    return find_layout(processor).patch_map(processor, size)


def find_views(processor: Any, image: Image.Image) -> tuple[PatchMap, list[np.ndarray]]:
    """(the patch map of an image, the pixels of each view: (3, height, width) from 0 to 255).

    Raises:
        GeometryError: as `find_patch_map`.
    """
    layout = find_layout(processor)
    found = layout.patch_map(processor, image.size)
    return found, layout.view_pixels(processor, found, image)
