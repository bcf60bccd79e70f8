"""From a box in the picture to the patches that the vision tower cuts: computed, not painted."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.image_transforms import get_resize_output_image_size

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the original picture


class GeometryError(ValueError):
    """A box or a picture that has no place on the patch grid; the message says why."""


@dataclass(frozen=True)
class PatchGrid:
    """How one picture lies on the patches.

    A point (x, y) of the picture falls on (scale_x · x + shift_x, scale_y · y + shift_y), in pixels of what the
    model sees: `rows` × `columns` patches of `patch` pixels, numbered row by row from the upper left.
    """

    rows: int
    columns: int
    patch: int
    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    def __len__(self) -> int:
        return self.rows * self.columns

    def related(self, boxes: Iterable[Box]) -> list[int]:
        """The sorted numbers of the patches that overlap at least one of the boxes.

        Raises:
            GeometryError: no box, a box without area, or one that lies wholly outside of what the model sees.
        """
        patches: set[int] = set()
        for box in boxes:
            patches.update(self._covered(box))
        if not patches:
            raise GeometryError("there is no box")
        return sorted(patches)

    def _covered(self, box: Box) -> list[int]:
        x, y, width, height = box
        if not (width > 0 and height > 0 and math.isfinite(x + y + width + height)):
            raise GeometryError(f"box {box} (x, y, width, height) has no area")
        columns = self._span(x, width, self.scale_x, self.shift_x, self.columns)
        rows = self._span(y, height, self.scale_y, self.shift_y, self.rows)
        if not columns or not rows:
            raise GeometryError(f"box {box} (x, y, width, height) lies outside of what the model sees of the picture")
        return [row * self.columns + column for row in rows for column in columns]

    def _span(self, start: float, length: float, scale: float, shift: float, count: int) -> range:
        # A touch is no overlap: rounding must not add a patch that shares only its border with the box.
        slack = 1e-6
        first = math.floor((scale * start + shift) / self.patch + slack)
        last = math.ceil((scale * (start + length) + shift) / self.patch - slack) - 1
        return range(max(0, first), min(count - 1, last) + 1)


def patch_grid(processor: Any, size: tuple[int, int]) -> PatchGrid:
    """The grid on which `processor` (of CLIP's kind: pad, resize, crop) lays a picture of `size` (width, height).

    Raises:
        GeometryError: the processor cuts pictures in a way that is not known here.
    """
    pictures = getattr(processor, "image_processor", None)
    patch = getattr(processor, "patch_size", None)
    if pictures is None or patch is None or hasattr(pictures, "image_grid_pinpoints"):
        raise GeometryError(f"{type(processor).__name__} cuts pictures in a way that has no patch map yet")
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
    return PatchGrid(
        rows=seen_height // patch,
        columns=seen_width // patch,
        patch=patch,
        scale_x=scale_x,
        scale_y=scale_y,
        shift_x=scale_x * pad_x - left,
        shift_y=scale_y * pad_y - top,
    )


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
