"""The page of the study: its questions, models, figures, tables and skipped questions."""

from pathlib import Path

import polars as pl

from vlmflow.claims.judge import CLAIMS
from vlmflow.jobs.job import logged
from vlmflow.report.page import render
from vlmflow.study import Study
from vlmflow.tables import ACCURACY, ANSWERS, COST, QUESTIONS, SKIPPED, atomic_write, read_models

with logged(snakemake.log[0]):
    study = Study.model_validate(snakemake.params.study)
    summaries = {
        name: probe.summary_table().read(path)
        for (name, probe), path in zip(study.probes.items(), snakemake.input.summaries, strict=True)
    }
    answers = read_models(ANSWERS, snakemake.input.answers, snakemake.params.models)
    page = render(
        study,
        questions=QUESTIONS.read(snakemake.input.questions),
        task_questions={
            task: QUESTIONS.read(path)
            for task, path in zip(snakemake.params.own_tasks, snakemake.input.task_questions, strict=True)
        },
        accuracy=ACCURACY.read(snakemake.input.accuracy),
        answers={
            (model, task): answers[model].filter(pl.col("task") == task) for model, task in snakemake.params.model_tasks
        },
        skipped=SKIPPED.read(snakemake.input.skipped),
        cost=COST.read(snakemake.input.cost),
        summaries=summaries,
        curve_features={
            name: study.probes[name].features.table.read(path)
            for name, path in zip(snakemake.params.curve_features, snakemake.input.curve_features, strict=True)
        },
        tables={
            name: pl.read_csv(path, schema_overrides=dict.fromkeys(("question", "answer"), pl.String))
            for name, path in zip(snakemake.params.tables, snakemake.input.tables, strict=True)
        },
        figures=Path(snakemake.output.report).parent / "figures",
        drawn=snakemake.params.drawn,
        left_out=snakemake.params.left_out,
        claims=CLAIMS.read(snakemake.input.claims[0]) if snakemake.input.claims else None,
    )
    with atomic_write(snakemake.output.report) as temporary:
        temporary.write_text(page, encoding="utf-8")
