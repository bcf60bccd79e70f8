"""Means and intervals of one probe, all models and tasks."""

import polars as pl

from vlmflow.jobs import logged
from vlmflow.statistics import summarise
from vlmflow.tables import MEASURED

with logged(snakemake.log[0]):
    measured = MEASURED[snakemake.params.kind]
    parts = [measured.summary.frame([])]
    for path, (model, task) in zip(snakemake.input.rows, snakemake.params.places, strict=True):
        rows = measured.rows.read(path)
        if len(rows):
            means = summarise(rows, list(measured.by), measured.value)
            parts.append(measured.summary.frame(means.with_columns(model=pl.lit(model), task=pl.lit(task))))
    measured.summary.write(pl.concat(parts), snakemake.output.summary)
