"""One of the question files that the authors of the paper published."""

from pathlib import Path

from vlmflow.downloads import fetch_file
from vlmflow.jobs import logged

with logged(snakemake.log[0]):
    path = Path(snakemake.output.questions)
    fetch_file(f"{snakemake.params.url}/{path.name}", path, snakemake.params.sha256)
