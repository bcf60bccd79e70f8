"""Drawn scenes and their questions, written in GQA's layout."""

from pathlib import Path

from vlmflow.data.scenes import write_scenes
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    folder = Path(snakemake.output.questions).parent
    write_scenes(folder, int(snakemake.wildcards.images), int(snakemake.wildcards.seed))
