"""From a box in the picture to the tokens of the patches that it overlaps: computed, not painted.

A processor shows the model one or more views of a picture: the whole of it resized and cropped, or padded to a square,
or (any resolution) squeezed to a square and once more in tiles.  In every view a point (x, y) of the picture falls on
(scale_x · x + shift_x, scale_y · y + shift_y), and patches become tokens row by row.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_transforms import get_resize_output_image_size

from vlmflow.errors import GeometryError

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the original picture

RED, GREEN = (255, 0, 0), (0, 255, 0)


@dataclass(frozen=True)
class View:
    """One view of the picture: `rows` × `columns` patches of `patch` pixels.

    Attributes:
        scale_x, scale_y, shift_x, shift_y: from pixels of the picture to pixels of the view.
        first: number of its first patch among the picture's tokens.
        row_ends: tokens after each row that are no patch.
    """

    rows: int
    columns: int
    patch: int
    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    first: int = 0
    row_ends: int = 0

    @property
    def tokens(self) -> np.ndarray:
        """(rows, columns): each patch's number among the picture's tokens."""
        starts = self.first + np.arange(self.rows) * (self.columns + self.row_ends)
        return starts[:, None] + np.arange(self.columns)

    def project(self, box: Box) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the box in pixels of the view, which it may exceed."""
        x, y, width, height = box
        return (
            self.scale_x * x + self.shift_x,
            self.scale_y * y + self.shift_y,
            self.scale_x * (x + width) + self.shift_x,
            self.scale_y * (y + height) + self.shift_y,
        )

    def covered(self, box: Box) -> list[int]:
        """The tokens of the patches that the box overlaps; none where it lies outside of the view."""
        left, top, right, bottom = self.project(box)
        columns = self._span(left, right, self.columns)
        rows = self._span(top, bottom, self.rows)
        return self.tokens[rows.start : rows.stop, columns.start : columns.stop].flatten().tolist()

    def _span(self, start: float, stop: float, count: int) -> range:
        # A touch is no overlap: rounding must not add a patch that shares only its border with the box.
        slack = 1e-6
        # What lies further out than a patch is not counted: far enough out, numbers become infinite.
        start, stop = (min(max(end, -self.patch), (count + 1) * self.patch) for end in (start, stop))
        first, last = math.floor(start / self.patch + slack), math.ceil(stop / self.patch - slack) - 1
        first, stopped = max(0, first), min(count - 1, last) + 1
        return range(first, max(first, stopped))


@dataclass(frozen=True)
class PatchMap:
    """How one picture lies on the tokens that stand for it.

    Attributes:
        views: of the picture; together their patches are all patches.
        tokens: how many tokens the picture becomes.
        size: width and height of the picture in pixels.
        grid: rows and columns of the tiles of an any-resolution picture.
    """

    views: tuple[View, ...]
    tokens: int
    size: tuple[int, int]
    grid: tuple[int, int] = (1, 1)

    @property
    def no_patch(self) -> list[int]:
        """The tokens that are no patch: row newlines, a token for the whole picture."""
        patches = {token for view in self.views for token in view.tokens.flatten().tolist()}
        return [token for token in range(self.tokens) if token not in patches]

    def related(self, boxes: Iterable[Box]) -> list[int]:
        """The sorted numbers, among the picture's tokens, of the patches that overlap at least one of the boxes.

        Of a box that reaches over the picture's border, what lies inside of the picture counts.

        Raises:
            GeometryError: no box, a box that is not four finite numbers or has no area, or one that lies wholly outside
                of the picture or of what the model sees of it.
        """
        found: set[int] = set()
        for box in boxes:
            inside = clipped(box, self.size)
            tokens = {token for view in self.views for token in view.covered(inside)}
            if not tokens:
                raise GeometryError(
                    f"box {box} (x, y, width, height) lies outside of what the model sees of the picture"
                )
            found |= tokens
        if not found:
            raise GeometryError("there is no box")
        return sorted(found)


def clipped(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies inside of a picture of `size` (width, height).

    Processors pad pictures, and a box beside the picture must not become patches of the padding.

    Raises:
        GeometryError: it is not four finite numbers, has no area, or none of it lies inside.
    """
    x, y, width, height = box
    if not all(map(math.isfinite, (x, y, x + width, y + height))):
        raise GeometryError(f"box {box} (x, y, width, height) is not four finite numbers")
    if width <= 0 or height <= 0:
        raise GeometryError(f"box {box} (x, y, width, height) has no area")
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    if left >= right or top >= bottom:
        raise GeometryError(
            f"box {box} (x, y, width, height) lies outside of the picture, which has {size[0]} × {size[1]} pixels"
        )
    return left, top, right - left, bottom - top


def patch_map(processor: Any, size: tuple[int, int]) -> PatchMap:
    """How `processor` lays a picture of `size` (width, height) on its tokens.

    Known are processors of CLIP's kind (pad, resize, crop), as of LLaVA-1.5, and any-resolution ones, as of LLaVA-NeXT.

    Raises:
        GeometryError: the processor cuts pictures in a way that is not known here.
    """
    pictures = getattr(processor, "image_processor", None)
    patch = getattr(processor, "patch_size", None)
    # Others that have a patch size too, and are told a crop size, cut a picture in ways of their own.
    of_llava = hasattr(processor, "num_additional_image_tokens")
    if pictures is None or patch is None or not of_llava or not hasattr(pictures, "crop_size"):
        raise _unknown(processor)
    if hasattr(pictures, "image_grid_pinpoints"):
        found = _any_resolution(pictures, patch, size)
    else:
        found = _one_view(pictures, patch, size)
    if getattr(processor, "vision_feature_select_strategy", None) == "full":
        found = _with_class_tokens(found, getattr(processor, "num_additional_image_tokens", 0))
    _check_tokens(processor, size, found)
    return found


def _unknown(processor: Any) -> GeometryError:
    if (tokens := getattr(processor, "num_query_tokens", None)) is not None:
        return GeometryError(
            f"patches do not apply: {type(processor).__name__} makes {tokens} query tokens of a picture, each of which "
            "sees all of it"
        )
    return GeometryError(f"{type(processor).__name__} cuts pictures in a way that has no patch map yet")


def _one_view(pictures: Any, patch: int, size: tuple[int, int]) -> PatchMap:
    """Padded to a square where the processor does that, resized, and cropped at the centre."""
    width, height = size
    pad_x = pad_y = 0.0
    if getattr(pictures, "do_pad", None):
        side = max(width, height)
        pad_x, pad_y = float((side - width) // 2), float((side - height) // 2)
        width = height = side
    new_width, new_height = _resized(pictures, width, height)
    scale_x, scale_y = new_width / width, new_height / height
    seen_width, seen_height, left, top = new_width, new_height, 0, 0
    if getattr(pictures, "do_center_crop", None):
        seen_width, seen_height = pictures.crop_size["width"], pictures.crop_size["height"]
        left, top = _crop_start(new_width, seen_width), _crop_start(new_height, seen_height)
    view = View(
        rows=seen_height // patch,
        columns=seen_width // patch,
        patch=patch,
        scale_x=scale_x,
        scale_y=scale_y,
        shift_x=scale_x * pad_x - left,
        shift_y=scale_y * pad_y - top,
    )
    return PatchMap((view,), view.rows * view.columns, size)


def _resized(pictures: Any, width: int, height: int) -> tuple[int, int]:
    size = pictures.size
    if not pictures.do_resize:
        return width, height
    if size.get("shortest_edge") and not size.get("longest_edge"):
        blank = np.empty((1, height, width), dtype=np.uint8)
        new_height, new_width = get_resize_output_image_size(
            blank, size["shortest_edge"], default_to_square=False, input_data_format="channels_first"
        )
        return new_width, new_height
    if size.get("height") and size.get("width"):
        return size["width"], size["height"]
    raise GeometryError(f"the picture size {dict(size)} of the processor has no patch map yet")


def _crop_start(length: int, seen: int) -> int:
    """Where the centre crop begins; negative where the picture is smaller and is laid on a black ground instead."""
    return (length - seen) // 2 if length >= seen else -math.ceil((seen - length) / 2)


def _any_resolution(pictures: Any, patch: int, size: tuple[int, int]) -> PatchMap:
    """The picture squeezed to one tile; then as large as the best grid of tiles holds it, without the grid's padding,
    each row of patches ended by a newline token."""
    tile = _tile(pictures)
    if tile % patch:
        raise GeometryError(f"tiles of {tile} pixels do not divide into patches of {patch}; there is no patch map yet")
    width, height = size
    side = tile // patch
    base = View(side, side, patch, tile / width, tile / height, 0.0, 0.0)
    best = select_best_resolution((height, width), pictures.image_grid_pinpoints)
    new_height, new_width = get_patch_output_size(np.empty((1, height, width), dtype=np.uint8), best, "channels_first")
    rows, columns = best[0] // patch, best[1] // patch
    cut_rows, cut_columns = _unpadding((height, width), (rows, columns))
    tiles = View(
        rows=rows - 2 * cut_rows,
        columns=columns - 2 * cut_columns,
        patch=patch,
        scale_x=new_width / width,
        scale_y=new_height / height,
        shift_x=(best[1] - new_width) // 2 - patch * cut_columns,
        shift_y=(best[0] - new_height) // 2 - patch * cut_rows,
        first=side * side,
        row_ends=1,
    )
    tokens = side * side + tiles.rows * (tiles.columns + 1)
    return PatchMap((base, tiles), tokens, size, grid=(best[0] // tile, best[1] // tile))


def _tile(pictures: Any) -> int:
    """Side of a tile in pixels."""
    sides = {pictures.crop_size["height"], pictures.crop_size["width"]}
    if len(sides) != 1 or pictures.size.get("shortest_edge", pictures.size.get("height")) not in sides:
        raise GeometryError(
            f"tiles of size {dict(pictures.size)}, cropped to {dict(pictures.crop_size)}, have no patch map yet"
        )
    return int(sides.pop())


def _unpadding(picture: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches that the model drops at each side, since they show padding only.

    Args:
        picture: height and width in pixels.
        grid: rows and columns of patches.
    """
    (height, width), (rows, columns) = picture, grid
    # Rounded as the model rounds: a row more or less would move every token after it.
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2


def _with_class_tokens(found: PatchMap, extra: int) -> PatchMap:
    """The map of a model that keeps the vision tower's tokens for the whole picture, before the patches."""
    if len(found.views) > 1:
        raise GeometryError("tiles that keep the vision tower's class token have no patch map yet")
    return PatchMap((replace(found.views[0], first=extra),), found.tokens + extra, found.size)


def _check_tokens(processor: Any, size: tuple[int, int], found: PatchMap) -> None:
    """Compare with the processor's own count of the picture's tokens."""
    count = getattr(processor, "_get_num_multimodal_tokens", None)
    # A picture that is not cropped has a count only once it is cut.
    if count is None or not getattr(processor.image_processor, "do_center_crop", False):
        return
    expected = count(image_sizes=[(size[1], size[0])])["num_image_tokens"][0]
    if expected != found.tokens:
        raise GeometryError(
            f"a picture of {size[0]} × {size[1]} pixels becomes {expected} tokens, but its patch map has "
            f"{found.tokens}; {type(processor).__name__} cuts it in a way that is not known here"
        )


# --- as the published code finds related patches ---


def painted_patches(processor: Any, size: tuple[int, int], boxes: Sequence[Box]) -> list[int]:
    """The related patches by the rule of the published code of [flow]: those with a pixel of pure paint.

    The boxes are painted red on green, both ends included, and sent through the processor without normalisation; a
    patch is related if at least one of its pixels is still purely red.

    Raises:
        GeometryError: no patch has such a pixel, a box lies wholly outside of what the model sees, or the processor has
            no patch map.
    """
    found = patch_map(processor, size)
    found.related(boxes)  # boxes that lie outside are refused by either rule
    canvas = Image.new("RGB", size, GREEN)
    brush = ImageDraw.Draw(canvas)
    for box in boxes:
        x, y, width, height = clipped(box, size)
        brush.rectangle((x, y, x + width, y + height), fill=RED)
    cut = processor.image_processor([canvas], return_tensors="np", do_normalize=False, do_rescale=False)
    pixels = np.asarray(cut["pixel_values"][0])
    related: list[int] = []
    for view, shown in zip(found.views, seen_pixels(found, pixels), strict=True):
        pure = (shown[0] == RED[0]) & (shown[1] == RED[1]) & (shown[2] == RED[2])
        blocks = pure[: view.rows * view.patch, : view.columns * view.patch]
        blocks = blocks.reshape(view.rows, view.patch, view.columns, view.patch).any(axis=(1, 3))
        related.extend(view.tokens[blocks].tolist())
    if not related:
        raise GeometryError("no patch holds a pixel that is covered by the boxes alone")
    return sorted(related)


def seen_pixels(found: PatchMap, pixels: np.ndarray) -> list[np.ndarray]:
    """What each view shows, (3, height, width), out of the processor's pixel values of one picture.

    Args:
        found: the picture's map.
        pixels: (3, height, width), or (tiles, 3, side, side) with the squeezed picture first.
    """
    if pixels.ndim == 3:
        return [pixels]
    _, tiles = found.views
    (down, across), side = found.grid, pixels.shape[-1]
    grid = pixels[1 : 1 + down * across].reshape(down, across, 3, side, side).transpose(2, 0, 3, 1, 4)
    grid = grid.reshape(3, down * side, across * side)
    top = (grid.shape[1] - tiles.rows * tiles.patch) // 2
    left = (grid.shape[2] - tiles.columns * tiles.patch) // 2
    return [pixels[0], grid[:, top : top + tiles.rows * tiles.patch, left : left + tiles.columns * tiles.patch]]
