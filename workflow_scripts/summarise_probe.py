"""Means and intervals of one probe, all its models and tasks."""

import polars as pl

from vlmflow.analysis.summaries import summarise_place
from vlmflow.jobs.job import logged
from vlmflow.progress import shown
from vlmflow.tables import PROBE_TABLES, SKIPPED

with logged(snakemake.log[0]):
    source, kind, places = snakemake.input, snakemake.params.kind, snakemake.params.places
    rows_table, summary_table = PROBE_TABLES[kind]
    parts = [
        summarise_place(kind, rows_table.read(rows), SKIPPED.read(left_out), model, task)
        for rows, left_out, (model, task) in shown(
            zip(source.rows, source.skipped, places, strict=True), snakemake.wildcards.probe, len(places), "tables"
        )
    ]
    summary_table.write(pl.concat([summary_table.frame([]), *parts]), snakemake.output.summary)
