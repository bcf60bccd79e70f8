"""An image squeezed to a grid of tiles, and once more to one tile."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from .base import ImageLayout, processed_pixels, processor_name, squeezed_view
from .patch_map import PatchMap, View

WHITE = 255


class TilesLayout(ImageLayout):
    """The image squeezed to a grid of tiles, tile by tile, and then, unless there is one tile, to one tile (InternVL,
    Aya Vision, Qianfan-OCR, Idefics 3, SmolVLM)."""

    # Processor → the number of tokens of a tile.
    tokens_per_tile: ClassVar[dict[str, Callable[[Any], int]]] = {
        "InternVLProcessor": lambda processor: processor.image_seq_length,
        "QianfanOCRProcessor": lambda processor: processor.image_seq_length,
        "AyaVisionProcessor": lambda processor: (processor.image_processor.size["height"] // processor.patch_size) ** 2,
        "Idefics3Processor": lambda processor: processor.image_seq_len,
        "SmolVLMProcessor": lambda processor: processor.image_seq_len,
    }
    whole_first: ClassVar[bool] = False

    def fits(self, processor: Any) -> bool:
        """Whether it is one of these processors."""
        return processor_name(processor) in self.tokens_per_tile

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of one view for each tile, and one of the complete image."""
        rows, columns, side = tile_grid(processor, size, self.whole_first)
        cells = math.isqrt(self.tokens_per_tile[processor_name(processor)](processor))
        patch, tokens = side // cells, cells * cells
        tiles = [(row, column) for row in range(rows) for column in range(columns)]
        has_whole = len(tiles) > 1
        begin = tokens if has_whole and self.whole_first else 0
        views = [
            View(
                rows=cells,
                columns=cells,
                patch=patch,
                scale_x=columns * side / size[0],
                scale_y=rows * side / size[1],
                shift_x=float(-column * side),
                shift_y=float(-row * side),
                first=begin + number * tokens,
            )
            for number, (row, column) in enumerate(tiles)
        ]
        if has_whole:
            first = 0 if self.whole_first else len(tiles) * tokens
            views.insert(0 if self.whole_first else len(tiles), squeezed_view(size, cells, cells, patch, first=first))
        return PatchMap(tuple(views), len(views) * tokens, size)


class TilesAfterWholeLayout(TilesLayout):
    """The image squeezed to one tile, and then, if there are several, to a grid of tiles (Ovis 2)."""

    tokens_per_tile: ClassVar[dict[str, Callable[[Any], int]]] = {
        "Ovis2Processor": lambda processor: processor.image_seq_length
    }
    whole_first: ClassVar[bool] = True


def tile_grid(processor: Any, size: tuple[int, int], whole_first: bool) -> tuple[int, int, int]:
    """(rows, columns, side in pixels) of the tiles of an image of `size` (width, height).

    Each family has a rule of its own, so the grid is read off an image that grows brighter along its longer side.
    """
    width, height = size
    wide = width >= height
    ramp = np.linspace(0, WHITE, max(size)).astype(np.uint8)
    image = np.tile(ramp, (height, 1)) if wide else np.tile(ramp[:, None], (1, width))
    pixels = processed_pixels(processor, Image.fromarray(image).convert("RGB"))
    tiles = pixels.reshape(-1, *pixels.shape[-3:])
    side = tiles.shape[-1]
    if len(tiles) == 1:
        return 1, 1, side
    tiles = tiles[1:] if whole_first else tiles[:-1]
    means = tiles.mean(axis=(1, 2, 3))
    same = np.abs(means - means[0]) < WHITE / (2 * len(tiles))
    # Tiles of a row differ in a wide image, whose next row begins like the first one, and agree in a tall one.
    ends = np.flatnonzero(same[1:] if wide else ~same[1:])
    columns = int(ends[0]) + 1 if len(ends) else len(tiles)
    return len(tiles) // columns, columns, side
