"""The numbers of questions that each model was asked, answered correctly, and is analysed on."""

import polars as pl

from vlmflow.analysis.answer_counts import count_answers
from vlmflow.jobs.job import logged
from vlmflow.tables import ACCURACY, ANSWERS, SELECTED, read_models

with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    answers = read_models(ANSWERS, source.answers, params.models)
    selected = read_models(SELECTED, source.selected, dict.fromkeys(params.models))
    rows = []
    for model, task in params.model_tasks:
        of_task = pl.col("task") == task
        counted = answers[model].filter(of_task), selected[model].filter(of_task)
        rows.append(count_answers(*counted, model=model, task=task))
    ACCURACY.write(rows, snakemake.output.summary)
