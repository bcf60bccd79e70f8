"""Whether the path of a model means a folder or an id on the hub, and the messages where neither exists."""

import difflib
import re
from pathlib import Path

from vlmflow.settings import HUB_ID


def folder_meant(path: str) -> Path | None:
    """The folder that a model's path means, whether it is there or not; None where it may be an id on the hub."""
    looks_local = (
        path.startswith((".", "/", "~", "resources/", "results/"))
        or not re.fullmatch(HUB_ID, path)
        or Path(path).parent.is_dir()  # a folder of models: what is not in it is a folder misspelt
    )
    return Path(path).expanduser() if looks_local else None


def no_folder(path: str | Path) -> str:
    """The message for a model's folder that does not exist, with the name that may have been meant."""
    folder = Path(path).expanduser().absolute()
    beside = [each.name for each in folder.parent.iterdir() if each.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, beside, n=1)
    return f"there is no model folder {folder}" + (f"; did you mean {folder.with_name(near[0])}?" if near else "")


def or_a_folder(path: str | Path) -> str:
    """The end of a message about a hub id that may be meant as a folder."""
    return f"if it is meant as a folder: there is none at {Path(path).absolute()}"
