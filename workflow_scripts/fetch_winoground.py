"""Winoground, where the hub gives access to it; where not, an account of what to do."""

import json
import os
import sys
from pathlib import Path

# Every other job reads from the disk only.
os.environ["HF_HUB_OFFLINE"] = "0"

from vlmflow.data.fetch.winoground import fetch_winoground
from vlmflow.jobs.job import logged
from vlmflow.tables import whole

with logged(snakemake.log[0]):
    output = snakemake.output
    account = fetch_winoground(
        *snakemake.params.repository,
        access=Path(output.access),
        examples=Path(output.examples),
        pictures=Path(output.pictures),
    )
    with whole(output.access) as temporary:
        temporary.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
    if not account["granted"]:
        print(account["reason"])
        # The study goes on without it: who starts it should not have to find that out in the end.
        print(f"Winoground: {account['reason']}", file=sys.__stderr__)
