"""Images as a model sees them: cut, squeezed or padded, without the colours' normalisation."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from vlmflow.data.open_image import open_image
from vlmflow.data.sampling import sample, split_by_ids
from vlmflow.errors import GeometryError, QuestionError
from vlmflow.prompts.layouts.registry import find_views

LEAST = 240  # pixels of a side, so that small images are not blurred when they are shown larger


def as_image(pixels: np.ndarray) -> Image.Image:
    """(3, height, width) pixels, from 0 to 255, as an image."""
    return Image.fromarray(np.clip(pixels.transpose(1, 2, 0), 0, 255).astype(np.uint8))


def example_views(processor: Any, questions: pl.DataFrame, measured: pl.Series, count: int) -> Iterator[dict[str, Any]]:
    """Rows of the table `views`: the first view of the images of some questions that a probe has measured.

    Args:
        processor: of the model; one whose tokens are no patches gives no row.
        questions: rows of the table `task`.
        measured: ids of the questions that have something to show.
        count: at most so many, the same ones whatever else is in the table.
    """
    shown, _ = split_by_ids(questions, sample(measured, count, seed=0))
    for row in shown.iter_rows(named=True):
        try:
            found, pixels = find_views(processor, open_image(row["image"]))
        except (GeometryError, QuestionError):
            continue
        first = found.views[0]
        seen = as_image(pixels[0][:, : first.rows * first.patch, : first.columns * first.patch])
        zoom = -(-LEAST // min(seen.size))
        if zoom > 1:
            seen = seen.resize((seen.width * zoom, seen.height * zoom), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        seen.save(buffer, "PNG", optimize=True) if zoom > 1 else seen.save(buffer, "JPEG", quality=88)
        yield {
            "question_id": row["question_id"],
            "question": row["question"],
            "answer": row["answer"],
            "rows": first.rows,
            "columns": first.columns,
            "image": buffer.getvalue(),
        }
