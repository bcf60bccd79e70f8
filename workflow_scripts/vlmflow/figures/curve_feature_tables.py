"""Columns that tables of phases and of knees share."""

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
