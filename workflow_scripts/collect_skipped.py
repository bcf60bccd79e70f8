"""One table of every question that went no further, with the reason."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.tables import SKIPPED

with logged(snakemake.log[0]):
    SKIPPED.write(pl.concat(SKIPPED.read(path) for path in snakemake.input), snakemake.output.skipped)
