"""The number, the types and an example of the questions of each task."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.report.tables import task_row, tasks_page, without_images
from vlmflow.tables import SELECTED, TASK, atomic_write

with logged(snakemake.log[0]):
    source, tasks = snakemake.input, snakemake.params.tasks
    rows = []
    for task, path in zip(tasks, source.tasks, strict=True):
        questions = TASK.read(path)
        if source.chosen:
            chosen = SELECTED.read(source.chosen[0]).filter(pl.col("task") == task)
            questions = questions.join(chosen, on="question_id", how="semi")
        rows.append(task_row(task, questions))
    title = snakemake.params.title or snakemake.wildcards.table
    with atomic_write(snakemake.output.csv) as temporary:
        without_images(rows).write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        temporary.write_text(tasks_page(rows, title), encoding="utf-8")
