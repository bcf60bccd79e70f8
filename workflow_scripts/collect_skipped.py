"""One table of all skipped questions, with the reasons."""

from itertools import groupby
from pathlib import Path

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.tables import SKIPPED, read_shards

with logged(snakemake.log[0]):
    # The shards of a step follow one another and are in one folder.
    folders = [list(paths) for _, paths in groupby(snakemake.input.shards, key=lambda path: Path(path).parent)]
    frames = [SKIPPED.read(path) for path in snakemake.input.whole]
    SKIPPED.write(pl.concat([*frames, *(read_shards(SKIPPED, paths) for paths in folders)]), snakemake.output.skipped)
