"""The rows of one probe on the questions of one task."""

import polars as pl
from pydantic import TypeAdapter

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.open_model import open_model
from vlmflow.probes import AnyProbe
from vlmflow.probes.question import Question
from vlmflow.probes.rows import rows_to_probe
from vlmflow.probes.run import ProbeRun
from vlmflow.tables import SKIPPED, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    params, wildcards = snakemake.params, snakemake.wildcards
    probe = TypeAdapter(AnyProbe).validate_python(params.probe)
    questions = rows_to_probe(probe, snakemake.input, params.seed)
    with open_model(params.model, snakemake.resources.gpu, snakemake.threads) as vlm:
        run = ProbeRun(
            vlm,
            probe,
            wildcards.probe,
            instruction=params.model["instruction"],
            questions=[Question.of(row) for row in questions.iter_rows(named=True)],
            match=params.answers_match,
        )
        frames, skipped = for_each_question(
            questions, run, stage=wildcards.probe, task=wildcards.task, model=wildcards.model, notes=run.skipped
        )
    probe.table.write(pl.concat([probe.table.frame([]), *frames]), snakemake.output.rows)
    SKIPPED.write(skipped, snakemake.output.skipped)
