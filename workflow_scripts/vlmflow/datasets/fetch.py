"""Which questions have their pictures on disk, and fetching the pictures that are missing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from filelock import FileLock

from vlmflow.archives import fetch_members
from vlmflow.downloads import fetch_files
from vlmflow.tables import TASK
from vlmflow.tasks import skipped

# In any case; of the formats that `vlmflow.pictures` opens.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Pictures:
    """Where a dataset's pictures lie, and from where missing ones are fetched.

    Attributes:
        folder: they lie there as {image_id} with one of the endings, or under one of the `names`.
        url: from where those that are missing are fetched into the folder; nowhere if None.
        archive: the zip archive under that address that holds them; None where each has an address of its own.
        name: what a picture is called there, by its image_id or, of a picture whose id is a number, that number.
        names: of pictures whose id is a number, how else they may be called in the folder, without an ending.
    """

    folder: str
    url: str | None = None
    archive: str | None = None
    name: str = "{image_id}.jpg"
    names: tuple[str, ...] = ()


def with_pictures(candidates: pl.DataFrame, pictures: Pictures, *, task: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `task`: the candidates whose picture is there; rows of `skipped` for the others).

    Args:
        candidates: rows of the table `candidates`.
        pictures: where they lie, and from where they are fetched.
        task: for the skipped rows.

    Raises:
        DownloadError: the archive of pictures cannot be read, or their server cannot be reached.
    """
    folder = Path(pictures.folder)
    ids = candidates["image_id"].unique(maintain_order=True).to_list()
    reasons = {image_id: f"{image_id!r} is no name of a picture" for image_id in ids if not _is_name(image_id)}
    ids = [image_id for image_id in ids if image_id not in reasons]
    found = _on_disk(ids, pictures)
    missing = [image_id for image_id in ids if image_id not in found]
    if missing and pictures.url is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # One job at a time: the server is others' too, and what the job before has fetched need not be fetched again.
        with FileLock(folder.parent / ".fetching.lock"):
            found |= _on_disk(missing, pictures)
            reasons |= _fetch([image_id for image_id in missing if image_id not in found], pictures)
        found |= _on_disk(missing, pictures)
    looked = f"there is no picture {{}} ({', '.join(ENDINGS)}) in {folder}"
    reasons |= {name: looked.format(name) for name in missing if name not in found and name not in reasons}
    print(f"{task}: {len(candidates)} questions on {len(ids)} pictures, {len(reasons)} of which are not to be had")

    def by_picture(texts: dict[str, str]) -> pl.Expr:
        return pl.col("image_id").replace_strict(texts, default=None, return_dtype=pl.String)

    placed = candidates.with_columns(image=by_picture(found), reason=by_picture(reasons))
    kept = placed.filter(pl.col("image").is_not_null()).select(list(TASK.columns))
    lost = placed.filter(pl.col("image").is_null())
    return kept, skipped(lost["question_id"], lost["reason"], stage="pictures", task=task)


def _is_name(image_id: str) -> bool:
    """Whether a file of this name stays in its folder."""
    return re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}", image_id) is not None


def _on_disk(ids: Iterable[str], pictures: Pictures) -> dict[str, str]:
    """Picture id → path, of those that lie in the folder."""
    folder = Path(pictures.folder)
    there: dict[str, dict[str, str]] = {}
    # Of names that differ in the ending's case only the lowercase one, which is sorted behind, is taken.
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
        stem, dot, ending = name.rpartition(".")
        there.setdefault(stem, {})[dot + ending.lower()] = name
    paths = {}
    for image_id in ids:
        names = [name.format(number=int(image_id)) for name in pictures.names] if image_id.isdecimal() else []
        found = [there.get(stem, {}).get(ending) for stem in (image_id, *names) for ending in ENDINGS]
        if any(found):
            paths[image_id] = str(folder / next(filter(None, found)))
    return paths


def _fetch(ids: list[str], pictures: Pictures) -> dict[str, str]:
    """Picture id → why it could not be fetched."""
    reasons = {}
    names = {}
    for image_id in ids:
        if "{number" in pictures.name and not image_id.isdecimal():
            reasons[image_id] = f"{image_id!r} is no number, as the pictures at {pictures.url} have"
        else:
            number = int(image_id) if image_id.isdecimal() else None
            names[pictures.name.format(image_id=image_id, number=number)] = image_id
    folder = Path(pictures.folder)
    wanted = {name: folder / f"{image_id}.jpg" for name, image_id in names.items()}
    if not wanted:
        return reasons
    if pictures.archive is not None:
        failures = fetch_members(f"{pictures.url}/{pictures.archive}", wanted, kept=folder.parent / pictures.archive)
    else:
        urls = {f"{pictures.url}/{name}": name for name in wanted}
        failures = {urls[url]: why for url, why in fetch_files({u: wanted[n] for u, n in urls.items()}).items()}
    return reasons | {names[name]: reason for name, reason in failures.items()}
