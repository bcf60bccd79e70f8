"""One of the question files that the authors of the paper published."""

from pathlib import Path

from vlmflow.data.fetch.files import fetch_file
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    url, sha256 = snakemake.params.file
    fetch_file(url, Path(snakemake.output.questions), sha256)
