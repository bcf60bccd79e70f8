"""Images as a model gets them: cut, squeezed or padded, without normalisation of the colours."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from vlmflow.data.open_image import open_image
from vlmflow.data.sampling import sample, split_by_ids
from vlmflow.errors import GeometryError, QuestionError
from vlmflow.prompts.layouts.patch_maps import PatchMaps

LEAST = 240  # pixels per side, so that small images are not blurred when they are enlarged


def as_image(pixels: np.ndarray) -> Image.Image:
    """The image of pixels (3, height, width), from 0 to 255."""
    return Image.fromarray(np.clip(pixels.transpose(1, 2, 0), 0, 255).astype(np.uint8))


def example_views(
    patch_maps: PatchMaps, questions: pl.DataFrame, measured: pl.Series, count: int
) -> Iterator[dict[str, Any]]:
    """Rows of the table `views`: the view of all of the image of some questions that a probe has measured.

    Args:
        patch_maps: of the model; there are no rows if its tokens are not patches.
        questions: rows of the table `task`, with the name of the task.
        measured: ids of the questions that have a measurement to show.
        count: the largest number; the choice hardly depends on the other rows of the table.
    """
    chosen, _ = split_by_ids(questions, sample(measured, count, seed=0))
    for row in chosen.iter_rows(named=True):
        try:
            patch_map, pixels = patch_maps.views(open_image(row["image"]))
        except (GeometryError, QuestionError):
            continue
        first = patch_map.views[patch_map.whole]
        view_image = as_image(pixels[patch_map.whole][:, : first.rows * first.patch, : first.columns * first.patch])
        zoom = -(-LEAST // min(view_image.size))
        if zoom > 1:
            view_image = view_image.resize(
                (view_image.width * zoom, view_image.height * zoom), Image.Resampling.NEAREST
            )
        buffer = io.BytesIO()
        view_image.save(buffer, "PNG", optimize=True) if zoom > 1 else view_image.save(buffer, "JPEG", quality=88)
        yield {
            "task": row["task"],
            "question_id": row["question_id"],
            "question": row["question"],
            "answer": row["answer"],
            "rows": first.rows,
            "columns": first.columns,
            "image": buffer.getvalue(),
        }
