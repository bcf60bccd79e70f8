"""Whether what was fetched from the hub still lies in its cache, file by file.

Cluster administrators purge files that nobody has read for a while, one by one: a conversation template can be gone
while the weights are there, and a model that is loaded without it is asked in another way.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE


def find_snapshot(note: Mapping[str, Any]) -> Path:
    """The folder of a fetched model: where it was fetched to, or the same place of the cache that HF_HOME names."""
    folder = Path(note["folder"])
    # The cache may have been brought here from a machine with a network: model, "snapshots" and commit name the same.
    places = (folder, Path(HF_HUB_CACHE, *folder.parts[-3:]))
    return next((place for place in places if place.is_dir()), folder)


def missing_files(note: Mapping[str, Any]) -> list[str]:
    """The files that were fetched and are gone; links to nothing, where the note was written before it named files."""
    folder = find_snapshot(note)
    links = [path.name for path in folder.iterdir() if path.is_symlink()] if folder.is_dir() else []
    names = {*note.get("files", ["config.json"]), *links}
    return sorted(name for name in names if not (folder / name).is_file())


def forget_if_gone(path: Path) -> list[str]:
    """Delete the note of what was fetched where some of it is gone, so that a job that needs it fetches it again.

    Returns:
        the files that are gone; none where there is no such note.
    """
    try:
        gone = missing_files(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):
        gone = [path.name]  # no note: it says nothing of where files are
    if gone:
        path.unlink(missing_ok=True)
    return gone
