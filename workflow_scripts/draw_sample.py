"""Which of the correctly answered questions the probes analyse; the others are accounted for."""

import polars as pl

from vlmflow.jobs import logged
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED
from vlmflow.tasks import draw, skipped

with logged(snakemake.log[0]):
    answers = ANSWERS.read(snakemake.input.answers)
    right = answers.filter("correct")["question_id"]
    drawn = draw(right, snakemake.params.per_task, snakemake.params.seed)
    where = {"stage": "selected", "task": snakemake.wildcards.task, "model": snakemake.wildcards.model}
    wrong = answers.filter(~pl.col("correct"))["question_id"]
    rest = right.filter(~right.is_in(drawn.to_list()))
    SELECTED.write(drawn.to_frame("question_id"), snakemake.output.selected)
    SKIPPED.write(
        pl.concat(
            [
                skipped(wrong, "answered wrongly", **where),
                skipped(rest, "answered rightly, but not drawn into the sample", **where),
            ]
        ),
        snakemake.output.skipped,
    )
