"""Winoground, where the hub gives access to it; where not, an account of what to do."""

import os
import sys
from pathlib import Path

# Every other job reads from the disk only.
os.environ["HF_HUB_OFFLINE"] = "0"

from vlmflow.data.base import HubDataset
from vlmflow.data.winoground.fetch import fetch_winoground
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    output = snakemake.output
    places = Path(output.access), Path(output.examples), Path(output.images)
    account = fetch_winoground(HubDataset(**snakemake.params.source), *places)
    if not account["granted"]:
        print(account["reason"])
        # The study goes on without it: who starts it should not have to find that out in the end.
        print(f"Winoground: {account['reason']}", file=sys.__stderr__)
