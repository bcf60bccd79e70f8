"""Phases or knees of a probe's averaged curves: their table, and the function that finds them."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from vlmflow.tables import Table


@dataclass(frozen=True)
class CurveFeatures:
    """The kind of features that a probe's curves have.

    Attributes:
        table: the table of all models and tasks.
        search: takes the probe's rows of one model and task, and returns rows of `table` without model and task.
    """

    table: Table
    search: Callable[[pl.DataFrame], pl.DataFrame]

    def find(self, rows: pl.DataFrame, model: str, task: str) -> pl.DataFrame:
        """The features of one model and task, as rows of `table`, from the probe's rows."""
        if len(rows) == 0:
            return self.table.frame([])
        return self.table.frame(self.search(rows).with_columns(model=pl.lit(model), task=pl.lit(task)))
