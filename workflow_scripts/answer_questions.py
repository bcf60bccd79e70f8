"""The model's answer to each question, and whether it is correct."""

import polars as pl

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.open_model import open_model
from vlmflow.probes.answer import answer_question
from vlmflow.probes.question import Question
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED, TASK, check_writable
from vlmflow.tables.questions import skipped

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    settings, source = snakemake.params.model, snakemake.input
    columns = {"stage": "answers", "task": snakemake.wildcards.task, "model": snakemake.wildcards.model}
    questions = TASK.read(source.questions)
    chosen = pl.concat([SELECTED.read(path) for path in source.chosen] or [SELECTED.frame(questions)])
    to_ask = questions.join(chosen, on="question_id", how="semi", maintain_order="left")
    rest = questions.join(chosen, on="question_id", how="anti", maintain_order="left")
    with open_model(settings, snakemake.resources.gpu, snakemake.threads) as vlm:
        rows, failed = for_each_question(
            to_ask,
            lambda row: answer_question(vlm, Question.of(row), settings["instruction"], snakemake.params.answers_match),
            **columns,
        )
    ANSWERS.write(rows, snakemake.output.answers)
    not_chosen = skipped(rest["question_id"], "not in the sample of the model that `answered_by` names", **columns)
    SKIPPED.write(pl.concat([failed, not_chosen]), snakemake.output.skipped)
