"""From a box in an image to the tokens of the patches that it overlaps, by computation.

A processor gives the model one or more views of an image: the complete image resized and cropped, or padded to a
square, or (any resolution) squeezed to a square and once more in tiles.  In every view a point (x, y) of the image is
at (scale_x · x + shift_x, scale_y · y + shift_y), and patches become tokens row by row.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vlmflow.errors import GeometryError

# A view shows as much of an image as another if the areas have at least this ratio; borders may be rounded.
AS_LARGE = 0.95

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the original image


@dataclass(frozen=True)
class Patches:
    """The related patches among the tokens that an image becomes.

    Attributes:
        tokens: number of the image's tokens.
        related: indices of the related patches among them, from 0.
        no_patch: indices of the tokens that are not patches, such as row newlines.
    """

    tokens: int
    related: Sequence[int]
    no_patch: Sequence[int] = ()


@dataclass(frozen=True)
class View:
    """One view of an image: `rows` × `columns` patches of `patch` pixels.

    Attributes:
        rows, columns: numbers of patches.
        patch: side of a patch in pixels of the view.
        scale_x, scale_y, shift_x, shift_y: from pixels of the image to pixels of the view.
        first: index of its first patch among the image's tokens.
        row_ends: number of tokens after each row that are not patches.
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
        """(rows, columns): each patch's index among the image's tokens."""
        starts = self.first + np.arange(self.rows) * (self.columns + self.row_ends)
        return starts[:, None] + np.arange(self.columns)

    def project(self, box: Box) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the box in pixels of the view; they may lie outside of the view."""
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
        # Contact is not overlap: rounding must not add a patch that shares only its border with the box.
        slack = 1e-6
        # Ends that lie further out than one patch are cut, since very large numbers become infinite.
        start, stop = (min(max(end, -self.patch), (count + 1) * self.patch) for end in (start, stop))
        first, last = math.floor(start / self.patch + slack), math.ceil(stop / self.patch - slack) - 1
        first, stopped = max(0, first), min(count - 1, last) + 1
        return range(first, max(first, stopped))


@dataclass(frozen=True)
class PatchMap:
    """How one image is mapped to its tokens.

    Attributes:
        views: views of the image, which together have all of its patches.
        tokens: number of the image's tokens.
        size: width and height of the image in pixels.
    """

    views: tuple[View, ...]
    tokens: int
    size: tuple[int, int]

    @property
    def no_patch(self) -> list[int]:
        """The tokens that are not patches: row newlines, or a token for the image as a whole."""
        patches = {token for view in self.views for token in view.tokens.flatten().tolist()}
        return [token for token in range(self.tokens) if token not in patches]

    @property
    def whole(self) -> int:
        """The number of the first view that shows all of the image, or else the most of it."""
        shown = [_area_inside(view, self.size) for view in self.views]
        return next(number for number, area in enumerate(shown) if area >= AS_LARGE * max(shown))

    def related(self, boxes: Iterable[Box]) -> list[int]:
        """The sorted indices, among the image's tokens, of the patches that overlap at least one of the boxes.

        For a box that crosses the image's border, the part inside of the image counts.

        Args:
            boxes: (x, y, width, height) in pixels of the original image.

        Raises:
            GeometryError: no box, a box that is not four finite numbers or has no area, or one that lies completely
                outside of the image or of the part of it that reaches the model.
        """
        found: set[int] = set()
        for box in boxes:
            inside = clipped(box, self.size)
            tokens = {token for view in self.views for token in view.covered(inside)}
            if not tokens:
                raise GeometryError(
                    f"box {box} (x, y, width, height) lies outside of the part of the image that reaches the model"
                )
            found |= tokens
        if not found:
            raise GeometryError("there is no box")
        return sorted(found)


def _area_inside(view: View, size: tuple[int, int]) -> float:
    """How much of an image a view shows, in pixels of the image."""
    sides = []
    scales, shifts, counts = (view.scale_x, view.scale_y), (view.shift_x, view.shift_y), (view.columns, view.rows)
    for length, scale, shift, count in zip(size, scales, shifts, counts, strict=True):
        sides.append(max(0.0, min(length, (count * view.patch - shift) / scale) - max(0.0, -shift / scale)))
    return sides[0] * sides[1]


def clipped(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies inside of an image of `size` (width, height).

    Processors pad images, and a box outside of the image must not become patches of the padding.

    Raises:
        GeometryError: the box is not four finite numbers, has no area, or lies outside completely.
    """
    try:
        x, y, width, height = (float(number) for number in box)
        finite = all(map(math.isfinite, (x, y, x + width, y + height)))
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise GeometryError(f"box {box} (x, y, width, height) is not four finite numbers")
    if width <= 0 or height <= 0:
        raise GeometryError(f"box {box} (x, y, width, height) has no area")
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    if left >= right or top >= bottom:
        raise GeometryError(
            f"box {box} (x, y, width, height) lies outside of the image, which has {size[0]} × {size[1]} pixels"
        )
    return left, top, right - left, bottom - top
