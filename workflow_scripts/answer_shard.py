"""A model's answers to the questions of one shard of a whole dataset."""

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.open_model import open_model
from vlmflow.probes.answer import answer_question
from vlmflow.probes.question import Question
from vlmflow.tables import ANSWERS, SKIPPED, TASK, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    settings = snakemake.params.model
    number, shards = map(int, snakemake.wildcards.scatteritem.split("-of-"))
    questions = TASK.read(snakemake.input.questions).gather_every(shards, offset=number - 1)
    with open_model(settings, snakemake.resources.gpu, snakemake.threads) as vlm:
        rows, skipped = for_each_question(
            questions,
            lambda row: answer_question(vlm, Question.of(row), settings["instruction"], snakemake.params.answers_match),
            stage="answers",
            task=snakemake.wildcards.table,
            model=snakemake.params.name,
        )
    ANSWERS.write(rows, snakemake.output.answers)
    SKIPPED.write(skipped, snakemake.output.skipped)
