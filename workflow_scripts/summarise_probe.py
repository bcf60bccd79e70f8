"""Means and intervals of one probe, all its models and tasks."""

import polars as pl

from vlmflow.jobs import logged
from vlmflow.summaries import summarise_place
from vlmflow.tables import PROBE_TABLES, SKIPPED

with logged(snakemake.log[0]):
    source, kind = snakemake.input, snakemake.params.kind
    rows_table, summary_table = PROBE_TABLES[kind]
    parts = [
        summarise_place(kind, rows_table.read(rows), SKIPPED.read(left_out), model, task)
        for rows, left_out, (model, task) in zip(source.rows, source.skipped, snakemake.params.places, strict=True)
    ]
    summary_table.write(pl.concat([summary_table.frame([]), *parts]), snakemake.output.summary)
