"""The features of one probe's curves, for each model and task: phases, or knees."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.progress import with_progress

with logged(snakemake.log[0]):
    model_tasks = snakemake.params.model_tasks
    probe = probe_class(snakemake.params.kind)
    frames = [
        probe.features.find(probe.table.read(path), model, task)
        for path, (model, task) in with_progress(
            zip(snakemake.input.rows, model_tasks, strict=True), snakemake.wildcards.probe, len(model_tasks), "curves"
        )
    ]
    table = probe.features.table
    table.write(pl.concat([table.frame([]), *frames]), snakemake.output.curve_features)
