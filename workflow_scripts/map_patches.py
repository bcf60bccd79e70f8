"""Which patches the boxes of each question overlap."""

from vlmflow.hub import location
from vlmflow.jobs import for_each_question, logged
from vlmflow.patches import map_patches
from vlmflow.processors import load_processor
from vlmflow.tables import PATCHES, SKIPPED, TASK

with logged(snakemake.log[0]):
    model = snakemake.params.model
    processor = load_processor(location(model["path"], model["fetched"]), template=model["template"], fit=model["fit"])
    rows, skipped = for_each_question(
        TASK.read(snakemake.input.questions),
        lambda row: map_patches(processor, row, snakemake.params.rule),
        stage="patches",
        task=snakemake.wildcards.task,
        model=snakemake.wildcards.model,
    )
    PATCHES.write(rows, snakemake.output.patches)
    SKIPPED.write(skipped, snakemake.output.skipped)
