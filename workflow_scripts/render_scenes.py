"""Drawn scenes and their questions, written in GQA's layout."""

from pathlib import Path

from vlmflow.data.scenes import write_scenes
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    folder, wildcards = Path(snakemake.output.questions).parent, snakemake.wildcards
    contrast = float(wildcards.contrast.removeprefix("-") or 1)
    changed = bool(wildcards.changed)
    write_scenes(folder, int(wildcards.images), int(wildcards.seed), contrast, changed=changed)
