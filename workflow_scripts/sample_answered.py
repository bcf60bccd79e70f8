"""The sample of questions that the probes analyse, and the reasons why the other answered questions are skipped."""

from vlmflow.data.sampling import sample_answered
from vlmflow.jobs.job import logged
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED

with logged(snakemake.log[0]):
    answers, params, wildcards = ANSWERS.read(snakemake.input.answers), snakemake.params, snakemake.wildcards
    selected, skipped = sample_answered(
        answers, params.per_task, params.seed, task=wildcards.task, model=wildcards.model
    )
    SELECTED.write(selected, snakemake.output.selected)
    SKIPPED.write(skipped, snakemake.output.skipped)
