"""The page of the study, and the facts by which it can be repeated."""

import json
from pathlib import Path

import polars as pl

from vlmflow.analysis.stages import STAGES
from vlmflow.claims.judge import CLAIMS
from vlmflow.jobs.job import logged
from vlmflow.report.figure_blocks import FigureFiles
from vlmflow.report.methods import provenance
from vlmflow.report.page import Results, examples, render
from vlmflow.study import Study
from vlmflow.tables import ACCURACY, ANSWERS, COST, MODEL, QUESTIONS, SKIPPED, atomic_write, read_models

with logged(snakemake.log[0]):
    source, params, output = snakemake.input, snakemake.params, snakemake.output
    study = Study.model_validate(params.study)
    answers = read_models(ANSWERS, source.answers, params.models)
    results = Results(
        questions=QUESTIONS.read(source.questions),
        task_questions={
            task: QUESTIONS.read(path) for task, path in zip(params.own_tasks, source.task_questions, strict=True)
        },
        answers={(model, task): answers[model].filter(pl.col("task") == task) for model, task in params.model_tasks},
        accuracy=ACCURACY.read(source.accuracy),
        skipped=SKIPPED.read(source.skipped),
        cost=COST.read(source.cost),
        summaries={
            name: probe.summary_table().read(path)
            for (name, probe), path in zip(study.probes.items(), source.summaries, strict=True)
        },
        curve_features={
            name: study.probes[name].features.table.read(path)
            for name, path in zip(params.curve_features, source.curve_features, strict=True)
        },
        tables={
            name: pl.read_csv(path, schema_overrides=dict.fromkeys(("question", "answer"), pl.String))
            for name, path in zip(params.tables, source.tables, strict=True)
        },
        claims=CLAIMS.read(source.claims[0]) if source.claims else None,
        stages=STAGES.read(source.stages[0]) if source.stages else None,
        failures=params.left_out,
    )
    made = provenance(
        study,
        questions=pl.concat([results.questions, *results.task_questions.values()]),
        tasks={row["task"]: row["count"] for row in examples(study, results.questions, results.task_questions)},
        accuracy=results.accuracy,
        summaries=results.summaries,
        models=pl.concat([MODEL.read(path) for path in source.model_facts] or [MODEL.frame([])]),
        skipped=results.skipped,
    )
    files = FigureFiles(Path(output.report).parent / "figures", params.drawn, params.together)
    page = render(study, results, files, made, params.explorer)
    with atomic_write(output.report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    with atomic_write(output.provenance) as temporary:
        temporary.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
