"""The image of a question as the model receives it, small enough for a page of a thousand questions."""

import io
from typing import Any

import numpy as np
from PIL import Image

from vlmflow.data.open_image import open_image
from vlmflow.errors import GeometryError, QuestionError

from .as_seen import as_image
from .layouts.patch_map import Box, View, clipped
from .layouts.patch_maps import PatchMaps

SIDE = 256  # pixels of the longer side
LARGEST = 6000  # bytes of an image, where a lower quality can reach it
QUALITIES = (75, 60, 45, 30, 20)


def explored_view(patch_maps: PatchMaps, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table `explored views`.

    Where it is not known which patches the image's tokens are, the image itself is shown.

    Args:
        patch_maps: of the model.
        row: of the table `task`, with `task` and with `related` of the table `patches` (null if there is none).

    Raises:
        QuestionError: the image cannot be opened.
    """
    image = open_image(row["image"])
    boxes = [(item["name"], (item["x"], item["y"], item["w"], item["h"])) for item in row["objects"]]
    boxes = [(name, box) for name, box in boxes if box[0] is not None]
    try:
        patch_map, pixels = patch_maps.views(image)
    except (GeometryError, QuestionError):
        placed = [_shares(name, box, image.size) for name, box in boxes]
        return _row(row, image, (0, 0), placed, [])
    view = patch_map.views[patch_map.whole]
    size = view.columns * view.patch, view.rows * view.patch
    seen = as_image(pixels[patch_map.whole][:, : size[1], : size[0]])
    inside = [_in_view(name, box, view, image.size) for name, box in boxes]
    related = np.flatnonzero(np.isin(view.tokens.flatten(), row["related"] or [])).tolist()
    return _row(row, seen, (view.rows, view.columns), [each for each in inside if each], related)


def _row(
    row: dict[str, Any], image: Image.Image, cells: tuple[int, int], boxes: list[Any], related: list[int]
) -> dict[str, Any]:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    about = {"task": row["task"], "question_id": row["question_id"], "image": _webp(small)}
    size = {"width": small.width, "height": small.height, "rows": cells[0], "columns": cells[1]}
    return about | size | {"boxes": boxes, "related": related}


def _in_view(name: str, box: Box, view: View, size: tuple[int, int]) -> dict[str, Any] | None:
    """The part of a box that lies in the image, as shares of the view; None if it lies outside of the image."""
    try:
        left, top, right, bottom = view.project(clipped(box, size))
    except GeometryError:
        return None
    return _shares(name, (left, top, right - left, bottom - top), (view.columns * view.patch, view.rows * view.patch))


def _shares(name: str, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    x, y, w, h = (float(number) / side for number, side in zip(box, size * 2, strict=True))
    return {"name": name, "x": x, "y": y, "w": w, "h": h}


def _webp(image: Image.Image) -> bytes:
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=4)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()
