"""Load a model once, before any other job needs it, and note what it is; or fail with one clear message."""

from vlmflow.jobs.job import logged
from vlmflow.jobs.open_model import fetched_commit, open_model, versions_text
from vlmflow.tables import MODEL, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    settings = snakemake.params.model
    with open_model(settings, snakemake.resources.gpu, snakemake.threads) as vlm:
        about = {"model": snakemake.wildcards.model, "content": settings["content"], "versions": versions_text()}
        MODEL.write([vlm.facts() | about | {"revision": fetched_commit(settings["fetched"])}], snakemake.output.model)
