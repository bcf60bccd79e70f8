"""Whether what was fetched from the hub still lies in its cache, file by file.

Cluster administrators purge files that nobody has read for a while, one by one: a conversation template can be gone
while the weights are there, and a model that is loaded without it gets other prompts.
"""

import json
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE


def files_of(note: Path) -> Path:
    """Where the names of the files are kept that were fetched; beside the note, which jobs depend on."""
    return note.with_suffix(".files.json")


def find_snapshot(note: Path) -> tuple[Path, list[str]]:
    """(the folder of a fetched model, which of its files are gone): where it was fetched to, or the same place of the
    cache that HF_HOME names, whichever has more of it.

    Raises:
        ValueError: this is no note of what was fetched.
    """
    try:
        folder = Path(json.loads(note.read_text(encoding="utf-8"))["folder"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{note}: this is no note of what was fetched") from error
    # The cache may have been brought here from a machine with a network: model, "snapshots" and commit name the same.
    folders = (folder, Path(HF_HUB_CACHE, *folder.parts[-3:]))
    return min(((each, _missing(each, note)) for each in folders), key=lambda found: len(found[1]))


def _missing(folder: Path, note: Path) -> list[str]:
    """The files that are gone; where their names were not kept, links to nothing."""
    names = {"config.json"}
    if files_of(note).is_file():
        names |= set(json.loads(files_of(note).read_text(encoding="utf-8")))
    elif folder.is_dir():
        names |= {path.name for path in folder.iterdir() if path.is_symlink()}
    return sorted(name for name in names if not (folder / name).is_file())


def forget_if_gone(note: Path) -> list[str]:
    """Delete the note of what was fetched where some of it is gone, so that a job that needs it fetches it again.

    Returns:
        the files that are gone; none where there is no such note.
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
