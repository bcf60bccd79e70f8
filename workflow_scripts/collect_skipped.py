"""One table of all skipped questions, with the reasons."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.tables import SKIPPED

with logged(snakemake.log[0]):
    SKIPPED.write(pl.concat(SKIPPED.read(path) for path in snakemake.input), snakemake.output.skipped)
