"""One probe on the drawn questions of one task."""

import polars as pl
from pydantic import TypeAdapter

from vlmflow.inference import open_model, prober
from vlmflow.jobs import for_each_question, logged
from vlmflow.study import Probe
from vlmflow.tables import MEASURED, PATCHES, SELECTED, SKIPPED, TASK

with logged(snakemake.log[0]):
    settings = snakemake.params.model
    probe = TypeAdapter(Probe).validate_python(snakemake.params.probe)
    selected = SELECTED.read(snakemake.input.selected)
    patches = PATCHES.read(snakemake.input.patches)
    questions = TASK.read(snakemake.input.questions).join(patches, on="question_id", how="left", maintain_order="left")
    left_out: list[tuple[str, str]] = []
    with open_model(settings, snakemake.resources.gpu, snakemake.threads) as vlm:
        frames, skipped = for_each_question(
            questions.join(selected, on="question_id", how="semi", maintain_order="left"),
            prober(vlm, probe, settings["instruction"], lambda *note: left_out.append(note)),
            stage=snakemake.wildcards.probe,
            task=snakemake.wildcards.task,
            model=snakemake.wildcards.model,
            notes=left_out,
        )
    table = MEASURED[probe.kind].rows
    table.write(pl.concat([table.frame([]), *(table.frame(frame) for frame in frames)]), snakemake.output.rows)
    SKIPPED.write(skipped, snakemake.output.skipped)
