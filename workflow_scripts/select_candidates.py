"""The candidates of one task: the questions that are asked if their images are available."""

from vlmflow.data.sampling import select_candidates
from vlmflow.data.tasks import Task
from vlmflow.jobs.job import logged
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    questions, params = QUESTIONS.read(snakemake.input.questions), snakemake.params
    task = Task.model_validate(params.task)
    candidates, skipped = select_candidates(questions, snakemake.wildcards.task, task, params.candidates, params.seed)
    CANDIDATES.write(candidates, snakemake.output.candidates)
    SKIPPED.write(skipped, snakemake.output.skipped)
