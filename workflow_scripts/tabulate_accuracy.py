"""A model's accuracy in each structural and semantic group of a whole dataset."""

import polars as pl

from vlmflow.analysis.group_accuracy import accuracy_rows
from vlmflow.jobs.job import logged
from vlmflow.report.tables import accuracy_page
from vlmflow.tables import ANSWERS, SKIPPED, TASK, atomic_write, read_shards

with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    answers = read_shards(ANSWERS, source.answers)
    groups = accuracy_rows(TASK.read(source.questions), answers)
    title = params.title or snakemake.wildcards.table
    with atomic_write(snakemake.output.csv) as temporary:
        groups.write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        temporary.write_text(accuracy_page(groups, title, params.model), encoding="utf-8")
    before = [SKIPPED.read(path) for path in source.skipped]
    SKIPPED.write(pl.concat([*before, read_shards(SKIPPED, source.not_answered)]), snakemake.output.skipped)
