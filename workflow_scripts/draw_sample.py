"""Which questions the probes analyse, of those answered correctly or without a right answer; the others are accounted
for."""

import polars as pl

from vlmflow.data.sampling import draw, skipped
from vlmflow.jobs.job import logged
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED

with logged(snakemake.log[0]):
    answers = ANSWERS.read(snakemake.input.answers)
    # Where there is nothing to be right, nothing is wrong either.
    wrong = answers.filter(~pl.col("correct")).with_columns(
        reason=pl.when(pl.col("token_ids").list.len() == 0)
        .then(pl.lit("answered wrongly: the model said nothing"))
        .otherwise(pl.lit("answered wrongly"))
    )
    usable = answers.filter(pl.col("correct").fill_null(True))
    drawn = draw(usable["question_id"], snakemake.params.per_task, snakemake.params.seed)
    where = {"stage": "selected", "task": snakemake.wildcards.task, "model": snakemake.wildcards.model}
    rest = usable.filter(~pl.col("question_id").is_in(drawn.implode())).with_columns(
        reason=pl.when("correct").then(pl.lit("answered rightly")).otherwise(pl.lit("answered"))
        + ", but not drawn into the sample"
    )
    SELECTED.write(drawn.to_frame("question_id"), snakemake.output.selected)
    SKIPPED.write(
        pl.concat(
            [
                skipped(wrong["question_id"], wrong["reason"], **where),
                skipped(rest["question_id"], rest["reason"], **where),
            ]
        ),
        snakemake.output.skipped,
    )
