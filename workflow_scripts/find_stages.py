"""The stages of the flow, of every model and edge, as a table and as a CSV file."""

import polars as pl

from vlmflow.analysis.stages import STAGES
from vlmflow.claims.opened import open_layers, open_probe_sources
from vlmflow.claims.stages import stages_of_study
from vlmflow.jobs.job import logged
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    params = snakemake.params
    layers = open_layers(params.models, snakemake.input.models)
    stages = stages_of_study(open_probe_sources(params, snakemake.input.rows), layers)
    STAGES.write(stages, snakemake.output.stages)
    with atomic_write(snakemake.output.csv) as temporary:
        stages.with_columns(pl.col("tasks").list.join(" ")).write_csv(temporary)
