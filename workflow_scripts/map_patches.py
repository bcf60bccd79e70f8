"""Which patches the boxes of each question overlap."""

from vlmflow.inference import map_patches
from vlmflow.jobs import for_each_question, logged
from vlmflow.models import load_processor
from vlmflow.tables import PATCHES, SKIPPED, TASK

with logged(snakemake.log[0]):
    processor = load_processor(snakemake.params.model["path"], revision=snakemake.params.model["revision"])
    rows, skipped = for_each_question(
        TASK.read(snakemake.input.questions),
        lambda row: map_patches(processor, row),
        stage="patches",
        task=snakemake.wildcards.task,
        model=snakemake.wildcards.model,
    )
    PATCHES.write(rows, snakemake.output.patches)
    SKIPPED.write(skipped, snakemake.output.skipped)
