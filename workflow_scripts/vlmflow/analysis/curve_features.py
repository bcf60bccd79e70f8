"""What is found on a probe's curves, in one table for all models and tasks."""

import polars as pl

from vlmflow.tables import LANDMARK_TABLES

from .knees import find_knees
from .phases import find_phases

FINDERS = {"similarity": find_phases, "budget": find_knees}


def find_landmarks(kind: str, rows: pl.DataFrame, model: str, task: str) -> pl.DataFrame:
    """Rows of the kind's table of landmarks, from the probe's rows of one model and task."""
    table = LANDMARK_TABLES[kind]
    if len(rows) == 0:
        return table.frame([])
    return table.frame(FINDERS[kind](rows).with_columns(model=pl.lit(model), task=pl.lit(task)))
