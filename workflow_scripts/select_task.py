"""The questions of one task that are asked, if their pictures can be had."""

import polars as pl

from vlmflow.data.sampling import draw, draw_apart, select_task, skipped
from vlmflow.jobs.job import logged
from vlmflow.study import Task
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    questions = QUESTIONS.read(snakemake.input.questions)
    name, params = snakemake.wildcards.task, snakemake.params
    usable, broken = select_task(questions, name, Task.model_validate(params.task))
    candidates, rest = draw_apart(usable, draw(usable["question_id"], params.candidates, params.seed))
    CANDIDATES.write(candidates, snakemake.output.candidates)
    SKIPPED.write(
        pl.concat([broken, skipped(rest["question_id"], "not drawn as a candidate", stage="tasks", task=name)]),
        snakemake.output.skipped,
    )
    print(f"{len(candidates)} questions, {len(broken)} that lack something, {len(rest)} that were not drawn")
