"""The table of what a study's jobs took."""

import polars as pl

from .base import Column, Table
from .columns import PLACE_COLUMNS

COST = Table(
    "summary of cost",
    {
        "model": PLACE_COLUMNS["model"],
        "step": Column(pl.String, "answers, the name of a probe, or `table` and the name of a table"),
        "jobs": Column(pl.Int32, "of which is known what they took"),
        "unmeasured": Column(pl.Int32, "jobs without a benchmark file, counted nowhere else"),
        "questions": Column(pl.Int64, "that these jobs answered or measured"),
        "hours": Column(pl.Float64, "from each job's start to its end, in sum, hours"),
        "gpus": Column(pl.Int32, "that one job held, at most"),
        "gpu_hours": Column(pl.Float64, "hours of each job times the GPUs that it held, in sum, hours"),
        "cpu_hours": Column(pl.Float64, "of all cores, user and system, hours", nullable=True),
        "memory": Column(pl.Float64, "largest resident memory of a job, megabytes", nullable=True),
    },
)
