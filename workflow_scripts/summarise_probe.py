"""Means and intervals of one probe, for all its models and tasks."""

import polars as pl

from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.progress import with_progress
from vlmflow.tables import SKIPPED, read_models

with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    probe = probe_class(params.kind)
    summary = probe.summary_table()
    rows = read_models(probe.table, source.rows, params.models)
    skipped = read_models(SKIPPED, source.skipped, params.models)
    frames = []
    for model, task in with_progress(params.model_tasks, snakemake.wildcards.probe, len(params.model_tasks), "tables"):
        of_task = pl.col("task") == task
        measured, left_out = rows[model].filter(of_task), skipped[model].filter(of_task)
        frames.append(summarise_model_task(probe.averaging, probe.table, measured, left_out, model, task))
    summary.write(pl.concat([summary.frame([]), *frames]), snakemake.output.summary)
