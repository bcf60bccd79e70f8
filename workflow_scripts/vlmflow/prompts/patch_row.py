"""From a question's boxes to its row of the table `patches`."""

from typing import Any

from vlmflow.data.open_image import open_image
from vlmflow.errors import GeometryError, NotApplicableError
from vlmflow.prompts.layouts.painted import painted_patches
from vlmflow.prompts.layouts.patch_maps import PatchMaps


def size_for_boxes(path: str, drawn_for: tuple[int | None, int | None]) -> tuple[int, int]:
    """The width and height of an image in pixels, if its boxes were drawn for this size.

    Args:
        path: of the image.
        drawn_for: (width, height) for which the boxes were drawn.

    Raises:
        QuestionError: the image cannot be opened.
        GeometryError: the boxes were drawn for an image of another size.
    """
    image = open_image(path)
    if drawn_for != image.size:
        raise GeometryError(
            f"the scene graph was made for {drawn_for[0]} × {drawn_for[1]} pixels, but the image has "
            f"{image.width} × {image.height}"
        )
    return image.size


def patch_row(patch_maps: PatchMaps, row: dict[str, Any], rule: str) -> dict[str, Any]:
    """A row of the table `patches`.

    Args:
        patch_maps: of the model.
        row: of the table `task`, with the name of the task.
        rule: "overlap" (patches that a box overlaps) or "painted" (the rule of the published code of [flow]).

    Raises:
        QuestionError: the image cannot be opened.
        NotApplicableError: there are no boxes, or they cannot be mapped to patches.
    """
    boxes = [(o["x"], o["y"], o["w"], o["h"]) for o in row["objects"] if o["x"] is not None]
    try:
        if not row["objects"]:
            raise GeometryError("the question has no objects and boxes")
        if not boxes:
            raise GeometryError("the question has no box: none of its objects is in the scene graph")
        size = size_for_boxes(row["image"], (row["width"], row["height"]))
        patch_map = patch_maps.find(size)
        related = patch_map.related(boxes) if rule == "overlap" else painted_patches(patch_maps.processor, size, boxes)
    except GeometryError as error:
        # Only the edges of patches are left out then; all others are measured.
        raise NotApplicableError(str(error)) from error
    return {
        "task": row["task"],
        "question_id": row["question_id"],
        "tokens": patch_map.tokens,
        "related": related,
        "no_patch": patch_map.no_patch,
    }
