"""Tell whether the path of a model means a folder or an id on the hub; and messages if neither exists."""

import difflib
import re
from pathlib import Path

from vlmflow.settings import HUB_ID


def folder_meant(path: str) -> Path | None:
    """The folder that a model's path means, even if it does not exist; None if the path may be an id on the hub."""
    is_local = (
        path.startswith((".", "/", "~", "resources/", "results/"))
        or not re.fullmatch(HUB_ID, path)
        or Path(path).parent.is_dir()  # a folder of models: a name that is not in it is a misspelt folder
    )
    return Path(path).expanduser() if is_local else None


def no_folder(path: str | Path) -> str:
    """The message for a model's folder that does not exist, with the name that may have been meant."""
    folder = Path(path).expanduser().absolute()
    beside = [each.name for each in folder.parent.iterdir() if each.is_dir()] if folder.parent.is_dir() else []
    similar = difflib.get_close_matches(folder.name, beside, n=1)
    return f"there is no model folder {folder}" + (f"; did you mean {folder.with_name(similar[0])}?" if similar else "")


def or_a_folder(path: str | Path) -> str:
    """The end of a message about a hub id that was perhaps meant as a folder."""
    return f"if it should be a folder: there is no folder at {Path(path).absolute()}"
