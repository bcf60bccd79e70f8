"""The table of the time and memory that a study's jobs used."""

import polars as pl

from .base import Column, Table
from .columns import MODEL_TASK

COST = Table(
    "summary of cost",
    {
        "model": MODEL_TASK["model"],
        "step": Column(pl.String, "loading, answers, the name of a probe, or `table` and the name of a table"),
        "jobs": Column(pl.Int32, "jobs whose time is known"),
        "unmeasured": Column(pl.Int32, "jobs without a benchmark file; no other column counts them"),
        "questions": Column(pl.Int64, "questions that these jobs measured"),
        "kept": Column(pl.Int64, "questions whose measurements the store had"),
        "hours": Column(pl.Float64, "sum of the times from a job's start to its end, hours"),
        "gpus": Column(pl.Int32, "largest number of GPUs that one job held"),
        "gpu_hours": Column(pl.Float64, "sum over jobs of the hours times the GPUs that the job held, hours"),
        "cpu_hours": Column(pl.Float64, "of all cores, user and system, hours", nullable=True),
        "memory": Column(pl.Float64, "largest resident memory of a job, megabytes", nullable=True),
    },
)
