"""Check, file by file, whether a fetched model is still in the hub's cache.

Cluster administrators purge single files that nobody has read for a while: a conversation template can be gone while
the weights are there, and a model that is loaded without it gets other prompts.
"""

import json
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE


def files_of(note: Path) -> Path:
    """The file with the names and digests of the fetched files; it is beside the note, on which jobs depend."""
    return note.with_suffix(".files.json")


def fetched_digests(note: Path) -> dict[str, str]:
    """Name → digest of each file of a fetched model, as it was when it was fetched; empty if this is not known."""
    try:
        kept = json.loads(files_of(note).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def find_snapshot(note: Path) -> tuple[Path, list[str]]:
    """(the folder of a fetched model, the files that are gone from it): the folder to which it was fetched, or the same
    one in the cache that HF_HOME names, whichever has more files of it.

    Raises:
        ValueError: this file does not describe a fetched model.
    """
    try:
        folder = Path(json.loads(note.read_text(encoding="utf-8"))["folder"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{note}: this file does not describe a fetched model") from error
    # The cache may be a copy from a machine with a network; model, "snapshots" and commit are the same there.
    folders = (folder, Path(HF_HUB_CACHE, *folder.parts[-3:]))
    return min(((each, _missing(each, note)) for each in folders), key=lambda found: len(found[1]))


def _missing(folder: Path, note: Path) -> list[str]:
    """The files that are gone; if their names were not kept, these are broken links."""
    names = {"config.json"}
    if files_of(note).is_file():
        names |= set(json.loads(files_of(note).read_text(encoding="utf-8")))
    elif folder.is_dir():
        names |= {path.name for path in folder.iterdir() if path.is_symlink()}
    return sorted(name for name in names if not (folder / name).is_file())


def forget_if_gone(note: Path) -> list[str]:
    """Delete the note of a fetched model if some of its files are gone, so that a job that needs them fetches them
    again.

    Returns:
        the files that are gone; none if there is no such note.
    """
    try:
        _, gone = find_snapshot(note)
    except FileNotFoundError:
        return []
    except ValueError:
        gone = [note.name]
    if gone:
        note.unlink(missing_ok=True)
    return gone
