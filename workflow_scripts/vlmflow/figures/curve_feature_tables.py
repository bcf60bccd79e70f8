"""Columns that tables of phases and of knees share."""

from typing import Any

import polars as pl

from .numbers import unsigned

PLACE = (pl.col("model").alias("Model"), pl.col("task").alias("Task"), pl.col("prompt").alias("Prompt"))
SAMPLE = (pl.col("questions").alias("Questions"), pl.col("images").alias("Images"))


def number(column: str, digits: int) -> pl.Expr:
    """A number as text; a dash for null."""
    return pl.col(column).map_elements(lambda value: unsigned(value, digits), return_dtype=pl.String).fill_null("–")


def interval(where: pl.Expr | bool = True) -> pl.Expr:
    """The columns low and high as text; a dash if there is no interval or `where` is false."""
    return (
        pl.when(where & pl.col("low").is_not_null())
        .then(pl.format("[{}, {}]", number("low", 0), number("high", 0)))
        .otherwise(pl.lit("–"))
    )


def without_alike(rows: pl.DataFrame) -> dict[str, Any]:
    """The argument of the report's macro `plain_table`: columns and rows, and apart from them each column that has the
    same value in all of several rows, with this value; a column without any value is left out."""
    alike = {name for name in rows.columns if len(rows) > 1 and rows[name].n_unique() == 1}
    shown = rows.drop(alike)
    values = [(name, rows[name][0]) for name in rows.columns if name in alike and rows[name][0] not in (None, "", "–")]
    return {"alike": values, "columns": shown.columns, "rows": shown.rows()}
