"""The sample of questions that the probes analyse, and the reasons why the other answered questions are skipped."""

import polars as pl

from vlmflow.data.sampling import sample_answered
from vlmflow.jobs.job import logged
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED, read_shards

with logged(snakemake.log[0]):
    params, output = snakemake.params, snakemake.output
    answers = read_shards(ANSWERS, snakemake.input.answers)
    samples = [
        sample_answered(
            answers.filter(pl.col("task") == task), params.per_task, params.seed, task=task, model=params.name
        )
        for task in params.tasks
    ]
    SELECTED.write(pl.concat([SELECTED.frame([]), *(selected for selected, _ in samples)]), output.selected)
    SKIPPED.write(pl.concat([SKIPPED.frame([]), *(skipped for _, skipped in samples)]), output.skipped)
