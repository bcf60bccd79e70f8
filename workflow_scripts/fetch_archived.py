"""Single files out of archives elsewhere."""

from pathlib import Path

from vlmflow.data.fetch.files import fetch_archived
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    for (url, member), path in zip(snakemake.params.members, snakemake.output, strict=True):
        fetch_archived(url, member.format(**snakemake.wildcards), Path(path))
