"""The table of images for the page of single questions."""

import polars as pl

from .base import Column, Table

BOX = pl.Struct({"name": pl.String, "x": pl.Float64, "y": pl.Float64, "w": pl.Float64, "h": pl.Float64})
EXPLORED = Table(
    "explored views",
    {
        "task": Column(pl.String, "name in the study file"),
        "question_id": Column(pl.String, "id in the source"),
        "image": Column(pl.Binary, "the view of the whole image as the model receives it, as WebP"),
        "width": Column(pl.Int32, "pixels"),
        "height": Column(pl.Int32, "pixels"),
        "rows": Column(pl.Int32, "of patches; 0 if they are not known"),
        "columns": Column(pl.Int32, "of patches; 0 if they are not known"),
        "boxes": Column(pl.List(BOX), "of the question's objects, as shares of the view; they may lie outside of it"),
        "related": Column(pl.List(pl.Int32), "the cells of the view that are related patches, row by row, from 0"),
    },
)
