"""The features of one probe's curves, for each model and task: phases, or knees."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.progress import with_progress
from vlmflow.tables import read_models

with logged(snakemake.log[0]):
    params = snakemake.params
    probe = probe_class(params.kind)
    rows = read_models(probe.table, snakemake.input.rows, params.models)
    frames = [
        probe.features.find(rows[model].filter(pl.col("task") == task), model, task)
        for model, task in with_progress(
            params.model_tasks, snakemake.wildcards.probe, len(params.model_tasks), "curves"
        )
    ]
    table = probe.features.table
    table.write(pl.concat([table.frame([]), *frames]), snakemake.output.curve_features)
