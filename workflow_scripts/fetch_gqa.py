"""GQA's questions and scene graphs of one split, and nothing else of its archives."""

from pathlib import Path

from vlmflow.downloads import DownloadError, fetch_members
from vlmflow.jobs import logged
from vlmflow.sources import GQA_MEMBERS

with logged(snakemake.log[0]):
    for kind, (archive, pattern) in GQA_MEMBERS.items():
        member, path = pattern.format(split=snakemake.wildcards.split), Path(snakemake.output[kind])
        url = f"{snakemake.params.url}/{archive}"
        if failures := fetch_members(url, {member: path}, kept=path.parent / archive):
            raise DownloadError(f"{url}: {failures[member]}")
