"""The numbers that the paper prints beside those of the study, as a CSV file and on the terminal."""

import sys

import polars as pl

from vlmflow.claims.opened import open_layers, open_sources
from vlmflow.claims.targets import check_targets
from vlmflow.jobs.job import logged
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    params = snakemake.params
    layers = open_layers(params.models, snakemake.input.models)
    table = check_targets(params.study, open_sources(snakemake.input, params), layers)
    with atomic_write(snakemake.output.csv) as temporary:
        table.write_csv(temporary)
    shown = table.select("target", "model", "scope", "printed", "found", "low", "high", "verdict")
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3, tbl_hide_dataframe_shape=True,
               tbl_hide_column_data_types=True):  # fmt: skip
    print(shown if len(shown) else f"the study {params.study} has no targets; see docs/targets.md", file=sys.stderr)
