"""Winoground, if the hub grants access to it; otherwise a note of what to do."""

import os
import sys
from pathlib import Path

# All other jobs read from the disk only.
os.environ["HF_HUB_OFFLINE"] = "0"

from vlmflow.data.base import HubDataset
from vlmflow.data.winoground.fetch import fetch_winoground
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    output = snakemake.output
    paths = Path(output.access), Path(output.examples), Path(output.images)
    account = fetch_winoground(HubDataset(**snakemake.params.source), *paths)
    if not account["granted"]:
        print(account["reason"])
        # The study goes on without Winoground; whoever started it should know this now, and not at the end.
        print(f"Winoground: {account['reason']}", file=sys.__stderr__)
