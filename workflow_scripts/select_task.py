"""The questions of one task."""

from vlmflow.jobs import logged
from vlmflow.study import Task
from vlmflow.tables import QUESTIONS, SKIPPED, TASK
from vlmflow.tasks import select_task

with logged(snakemake.log[0]):
    questions = QUESTIONS.read(snakemake.input.questions)
    task = Task.model_validate(snakemake.params.task)
    kept, skipped = select_task(questions, snakemake.wildcards.task, task)
    TASK.write(kept, snakemake.output.questions)
    SKIPPED.write(skipped, snakemake.output.skipped)
    print(f"{len(kept)} questions, {len(skipped)} that lack something")
