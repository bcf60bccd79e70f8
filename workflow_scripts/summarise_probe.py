"""Means and intervals of one probe, for all its models and tasks."""

import polars as pl

from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.progress import with_progress
from vlmflow.tables import SKIPPED

with logged(snakemake.log[0]):
    source, model_tasks = snakemake.input, snakemake.params.model_tasks
    probe = probe_class(snakemake.params.kind)
    summary = probe.summary_table()
    frames = [
        summarise_model_task(probe.averaging, probe.table, probe.table.read(rows), SKIPPED.read(left_out), model, task)
        for rows, left_out, (model, task) in with_progress(
            zip(source.rows, source.skipped, model_tasks, strict=True),
            snakemake.wildcards.probe,
            len(model_tasks),
            "tables",
        )
    ]
    summary.write(pl.concat([summary.frame([]), *frames]), snakemake.output.summary)
