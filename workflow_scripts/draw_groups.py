"""The questions of a whole dataset, at most so many in each structural and semantic group."""

import polars as pl

from vlmflow.data.sampling import draw, draw_apart, skipped
from vlmflow.jobs.job import logged
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    questions = QUESTIONS.read(snakemake.input.questions)
    params = snakemake.params
    drawn = pl.concat(
        [
            draw(group["question_id"], params.per_group, params.seed)
            for group in questions.partition_by("structural", "semantic", maintain_order=True)
        ]
        or [questions["question_id"]]
    )
    candidates, rest = draw_apart(questions, drawn)
    CANDIDATES.write(candidates.drop("problem"), snakemake.output.candidates)
    SKIPPED.write(
        skipped(rest["question_id"], "not drawn in its group", stage="tasks", task=snakemake.wildcards.table),
        snakemake.output.skipped,
    )
