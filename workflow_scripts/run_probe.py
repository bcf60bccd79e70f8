"""One probe on the drawn questions of one task."""

import polars as pl
from pydantic import TypeAdapter

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.open_model import open_model
from vlmflow.probes import Probe
from vlmflow.probes.rows import rows_to_probe
from vlmflow.probes.run import prober
from vlmflow.tables import PROBE_TABLES, SKIPPED, check_room

with logged(snakemake.log[0]):
    check_room(snakemake.output)
    params, wildcards = snakemake.params, snakemake.wildcards
    probe = TypeAdapter(Probe).validate_python(params.probe)
    questions = rows_to_probe(probe, snakemake.input, params.seed)
    left_out: list[tuple[str, str]] = []
    with open_model(params.model, snakemake.resources.gpu, snakemake.threads) as vlm:
        frames, skipped = for_each_question(
            questions,
            prober(
                vlm,
                probe,
                wildcards.probe,
                params.model["instruction"],
                lambda *note: left_out.append(note),
                questions.to_dicts(),
                params.answers_match,
            ),
            stage=wildcards.probe,
            task=wildcards.task,
            model=wildcards.model,
            notes=left_out,
        )
    table, _ = PROBE_TABLES[probe.kind]
    table.write(pl.concat([table.frame([]), *frames]), snakemake.output.rows)
    SKIPPED.write(skipped, snakemake.output.skipped)
