"""Load a model once, before any other job needs it, and note what it is; or fail with one clear message."""

from vlmflow.jobs.job import logged
from vlmflow.jobs.open_model import open_model
from vlmflow.tables import MODEL, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    settings = snakemake.params.model
    with open_model(settings, snakemake.resources.gpu, snakemake.threads) as vlm:
        row = vlm.facts() | {"model": snakemake.wildcards.model, "content": settings["content"]}
        MODEL.write([row], snakemake.output.model)
