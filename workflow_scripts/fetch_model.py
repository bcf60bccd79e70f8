"""A model's weights and processor, fetched from the hub into its cache."""

import json
import os
from pathlib import Path

# All other jobs read models from the disk only.
os.environ["HF_HUB_OFFLINE"] = "0"

from vlmflow.jobs.job import logged
from vlmflow.models.hub import fetch_model, fetched_files
from vlmflow.models.hub_cache import files_of
from vlmflow.store.contents import Contents, contents_note
from vlmflow.store.measurements import store_folder
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    wildcards = snakemake.wildcards
    account = fetch_model(f"{wildcards.organisation}/{wildcards.name}", wildcards.revision)
    contents = Contents(contents_note(store_folder()))
    digests = {name: contents.digest(Path(account["folder"], name)) for name in fetched_files(account["folder"])}
    with atomic_write(files_of(Path(snakemake.output.note))) as temporary:
        temporary.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    with atomic_write(snakemake.output.note) as temporary:
        temporary.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
