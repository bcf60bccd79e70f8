"""What is found on the averaged curves of a probe: a table, and the search that fills it."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from vlmflow.tables import Table


@dataclass(frozen=True)
class CurveFeatures:
    """What is found on a probe's curves.

    Attributes:
        table: of all models and tasks.
        search: from the probe's rows of one model and task to rows of `table`, without model and task.
    """

    table: Table
    search: Callable[[pl.DataFrame], pl.DataFrame]

    def find(self, rows: pl.DataFrame, model: str, task: str) -> pl.DataFrame:
        """Rows of `table`, from the probe's rows of one model and task."""
        if len(rows) == 0:
            return self.table.frame([])
        return self.table.frame(self.search(rows).with_columns(model=pl.lit(model), task=pl.lit(task)))
