"""The images of some measured questions, as the model receives them, for a figure of examples."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.models.hub import model_folder
from vlmflow.models.processor import load_processor
from vlmflow.probes import probe_class
from vlmflow.probes.rows import read_questions
from vlmflow.prompts.as_seen import example_views
from vlmflow.tables import VIEWS, read_shards

with logged(snakemake.log[0]):
    settings, params = snakemake.params.model, snakemake.params
    processor = load_processor(
        model_folder(settings["path"], settings["fetched"]), template=settings["template"], fit=settings["fit"]
    )
    rows = read_shards(probe_class(params.kind).table, snakemake.input.rows)
    # Decoded words are kept only for examples.
    rows = rows.filter(pl.col("decoded").is_not_null()) if "decoded" in rows.columns else rows
    views = []
    for task, path in zip(params.tasks, snakemake.input.questions, strict=True):
        measured = rows.filter(pl.col("task") == task)["question_id"].unique(maintain_order=True)
        views += example_views(processor, read_questions([path], [task]), measured, params.most)
    VIEWS.write(views, snakemake.output.views)
