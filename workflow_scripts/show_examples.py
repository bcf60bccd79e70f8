"""The images of some measured questions, as the model receives them, for a figure of examples."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.jobs.patch_maps import open_patch_maps
from vlmflow.probes import probe_class
from vlmflow.probes.rows import read_questions
from vlmflow.prompts.as_seen import example_views
from vlmflow.tables import VIEWS, read_shards

with logged(snakemake.log[0]):
    settings, params = snakemake.params.model, snakemake.params
    rows = read_shards(probe_class(params.kind).table, snakemake.input.rows)
    # Decoded words are kept only for examples.
    rows = rows.filter(pl.col("decoded").is_not_null()) if "decoded" in rows.columns else rows
    views = []
    with open_patch_maps(settings, snakemake.output.views) as patch_maps:
        for task, path in zip(params.tasks, snakemake.input.questions, strict=True):
            measured = rows.filter(pl.col("task") == task)["question_id"].unique(maintain_order=True)
            views += example_views(patch_maps, read_questions([path], [task]), measured, params.most)
    VIEWS.write(views, snakemake.output.views)
