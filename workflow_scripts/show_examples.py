"""The images of some measured questions, as the model receives them, for a figure of examples."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.models.hub import model_folder
from vlmflow.models.processor import load_processor
from vlmflow.probes import probe_class
from vlmflow.prompts.as_seen import example_views
from vlmflow.tables import TASK, VIEWS

with logged(snakemake.log[0]):
    settings, params = snakemake.params.model, snakemake.params
    processor = load_processor(
        model_folder(settings["path"], settings["fetched"]), template=settings["template"], fit=settings["fit"]
    )
    rows = probe_class(params.kind).table.read(snakemake.input.rows)
    # Decoded words are kept only for examples.
    rows = rows.filter(pl.col("decoded").is_not_null()) if "decoded" in rows.columns else rows
    measured = rows["question_id"].unique(maintain_order=True)
    views = list(example_views(processor, TASK.read(snakemake.input.questions), measured, params.most))
    VIEWS.write(views, snakemake.output.views)
