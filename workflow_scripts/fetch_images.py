"""The candidates whose images exist, after missing images have been fetched."""

from pathlib import Path

from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.jobs.job import logged
from vlmflow.tables import CANDIDATES, SKIPPED, TASK

with logged(snakemake.log[0]):
    wildcards = snakemake.wildcards
    questions, skipped = with_images(
        CANDIDATES.read(snakemake.input.candidates),
        ImageSource(**snakemake.params.source),
        task=wildcards.get("task") or wildcards.table,
        note=Path(snakemake.output.questions).with_suffix(".refused.json"),
    )
    TASK.write(questions, snakemake.output.questions)
    SKIPPED.write(skipped, snakemake.output.skipped)
