"""A downloaded file, from its address or out of an archive."""

from pathlib import Path

from vlmflow.data.base import Download
from vlmflow.data.fetch.download import download
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    download(Download(**snakemake.params.source), Path(snakemake.output.file))
