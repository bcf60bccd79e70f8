"""The model's answers to the questions of one shard, and whether they are correct."""

import polars as pl

from vlmflow.data.sampling import NotDrawn
from vlmflow.jobs.job import logged
from vlmflow.jobs.measure import answering, measure_shard
from vlmflow.probes.rows import read_questions
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED, Shard, check_writable, read_shards
from vlmflow.tables.questions import skipped

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    params, source, shard = snakemake.params, snakemake.input, Shard.parse(snakemake.wildcards.shard)
    questions = read_questions(source.questions, params.tasks)
    chosen = read_shards(SELECTED, source.chosen) if source.chosen else questions
    ask = {"on": ["task", "question_id"], "maintain_order": "left"}
    rest = shard.questions(questions.join(chosen, how="anti", **ask))
    rows, failed = measure_shard(
        answering(params.name, params.model, params.code, params.answers_match),
        questions.join(chosen, how="semi", **ask),
        shard,
        snakemake.output.answers,
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
    )
    ANSWERS.write(rows, snakemake.output.answers)
    not_chosen = skipped(rest["question_id"], NotDrawn.CHOSEN, stage="answers", task=rest["task"], model=params.name)
    SKIPPED.write(pl.concat([failed, not_chosen]), snakemake.output.skipped)
