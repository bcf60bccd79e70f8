"""Two views of an image, as in LLaVA-NeXT: squeezed to one tile, and enlarged to fit the best grid of tiles."""

from typing import Any

import numpy as np
from PIL import Image

from vlmflow.engine.internals import get_patch_output_size, select_best_resolution
from vlmflow.errors import GeometryError

from .base import ImageLayout, processed_pixels, squeezed_view
from .llava import check_tokens, counts_patches, cuts_tiles, keeps_class_token
from .patch_map import PatchMap, View


class AnyResolutionLayout(ImageLayout):
    """The patches of one tile, which holds the complete image; then those of the grid, without its padding, with a
    newline token at the end of each row."""

    shows_pixels = True

    def fits(self, processor: Any) -> bool:
        """Whether the processor is of LLaVA's kind and cuts tiles."""
        return counts_patches(processor) and cuts_tiles(processor)

    def sides(self, processor: Any) -> tuple[int, int]:
        """(side of a patch, side of a tile) in pixels."""
        if keeps_class_token(processor):
            raise GeometryError("tiles that keep the vision tower's class token have no patch map yet")
        return processor.patch_size, _tile_side(processor.image_processor)

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """A patch map of two views, one tile and the grid."""
        patch, tile = self.sides(processor)
        if tile % patch:
            raise GeometryError(
                f"tiles of {tile} pixels do not divide into patches of {patch}; there is no patch map yet"
            )
        side = tile // patch
        down, across = self.grid(processor, size)
        tiled = _tiled_view(size, (down * tile, across * tile), patch, first=side * side)
        tiled = self.reduced(processor, tiled, side)
        views = squeezed_view(size, side, side, patch), tiled
        found = PatchMap(views, side * side + tiled.rows * (tiled.columns + 1), size)
        check_tokens(processor, found)
        return found

    def reduced(self, processor: Any, tiled: View, side: int) -> View:  # noqa: ARG002
        """The view of the grid with as many patches as the model keeps of it; by default all.

        Args:
            processor: one that fits.
            tiled: the view without its padding.
            side: number of patches per side of a tile.
        """
        return tiled

    def grid(self, processor: Any, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the tiles of an image of `size` (width, height)."""
        images = processor.image_processor
        height, width = select_best_resolution((size[1], size[0]), images.image_grid_pinpoints)
        _, tile = self.sides(processor)
        return height // tile, width // tile

    def view_pixels(self, processor: Any, found: PatchMap, image: Image.Image) -> list[np.ndarray]:
        """The pixels of the first tile, and of the other tiles joined to their grid, without its padding."""
        _, tiled = found.views
        pixels = processed_pixels(processor, image)[0]
        down, across = self.grid(processor, found.size)
        side = pixels.shape[-1]
        grid = pixels[1 : 1 + down * across].reshape(down, across, 3, side, side).transpose(2, 0, 3, 1, 4)
        grid = grid.reshape(3, down * side, across * side)
        top = (grid.shape[1] - tiled.rows * tiled.patch) // 2
        left = (grid.shape[2] - tiled.columns * tiled.patch) // 2
        return [pixels[0], grid[:, top : top + tiled.rows * tiled.patch, left : left + tiled.columns * tiled.patch]]


def _tiled_view(size: tuple[int, int], resolution: tuple[int, int], patch: int, first: int) -> View:
    """The view of an image on a grid of tiles.

    Args:
        size: width and height of the image.
        resolution: height and width of the grid in pixels.
        patch: side of a patch in pixels.
        first: index of the view's first token.
    """
    width, height = size
    blank = np.empty((1, height, width), dtype=np.uint8)
    new_height, new_width = get_patch_output_size(blank, resolution, "channels_first")
    rows, columns = resolution[0] // patch, resolution[1] // patch
    cut_rows, cut_columns = _unpadding((height, width), (rows, columns))
    return View(
        rows=rows - 2 * cut_rows,
        columns=columns - 2 * cut_columns,
        patch=patch,
        scale_x=new_width / width,
        scale_y=new_height / height,
        shift_x=(resolution[1] - new_width) // 2 - patch * cut_columns,
        shift_y=(resolution[0] - new_height) // 2 - patch * cut_rows,
        first=first,
        row_ends=1,
    )


def _tile_side(images: Any) -> int:
    """Side of a tile in pixels."""
    sides = {images.crop_size["height"], images.crop_size["width"]}
    if len(sides) != 1 or images.size.get("shortest_edge", images.size.get("height")) not in sides:
        raise GeometryError(
            f"tiles of size {dict(images.size)}, cropped to {dict(images.crop_size)}, have no patch map yet"
        )
    return int(sides.pop())


def _unpadding(image: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches that the model drops at each side, since they hold only padding.

    Args:
        image: height and width in pixels.
        grid: rows and columns of patches.
    """
    (height, width), (rows, columns) = image, grid
    # Rounded as the model rounds, since one row more or less would move every token after it.
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2
