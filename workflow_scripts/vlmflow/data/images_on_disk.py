"""Find the images of questions in a folder, by their ids."""

import re
from collections.abc import Iterable
from pathlib import Path

from .base import ImageSource

# Of the formats that `vlmflow.data.open_image` opens; capitals are allowed too.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def is_image_name(image_id: str) -> bool:
    """Whether a file of this name lies in its folder, and nowhere else."""
    return re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}", image_id) is not None


def images_on_disk(ids: Iterable[str], source: ImageSource) -> dict[str, str]:
    """Image id → path, for the images that are in the folder."""
    folder = Path(source.folder)
    names_by_stem: dict[str, dict[str, str]] = {}
    # Of names that differ only in the ending's case, the lowercase one is used, which is sorted behind the others.
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
        stem, dot, ending = name.rpartition(".")
        names_by_stem.setdefault(stem, {})[dot + ending.lower()] = name
    paths = {}
    for image_id in ids:
        names = [name.format(number=int(image_id)) for name in source.names] if image_id.isdecimal() else []
        found = [names_by_stem.get(stem, {}).get(ending) for stem in (image_id, *names) for ending in ENDINGS]
        if any(found):
            paths[image_id] = str(folder / next(filter(None, found)))
    return paths
