"""Which questions have their pictures on disk, and fetching the pictures that are missing."""

import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from filelock import FileLock

from vlmflow.downloads import fetch_members
from vlmflow.sources import GQA_PICTURES
from vlmflow.tables import TASK
from vlmflow.tasks import skipped

ENDINGS = (".jpg", ".jpeg", ".png")


def with_pictures(
    candidates: pl.DataFrame, folder: Path, gqa_url: str | None, *, task: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `task`: the candidates whose picture is there; rows of `skipped` for the others).

    Args:
        candidates: rows of the table `candidates`.
        folder: where pictures lie as {image_id} with one of the endings.
        gqa_url: from where those that are missing are fetched into `folder`; nowhere if None.
        task: for the skipped rows.

    Raises:
        DownloadError: the archive of pictures cannot be read.
    """
    ids = candidates["image_id"].unique(maintain_order=True).to_list()
    reasons = {image_id: f"{image_id!r} is no name of a picture" for image_id in ids if not _is_name(image_id)}
    ids = [image_id for image_id in ids if image_id not in reasons]
    found = _on_disk(ids, folder)
    missing = [image_id for image_id in ids if image_id not in found]
    if missing and gqa_url is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # One job at a time: the server is others' too, and what the job before has fetched need not be fetched again.
        with FileLock(folder.parent / ".fetching.lock"):
            found |= _on_disk(missing, folder)
            reasons |= _fetch([image_id for image_id in missing if image_id not in found], folder, gqa_url)
        found |= _on_disk(missing, folder)
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


def _on_disk(ids: Iterable[str], folder: Path) -> dict[str, str]:
    """Picture id → path, of those that lie in the folder."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    paths = {}
    for image_id in ids:
        for ending in ENDINGS:
            if f"{image_id}{ending}" in there:
                paths[image_id] = str(folder / f"{image_id}{ending}")
                break
    return paths


def _fetch(ids: list[str], folder: Path, gqa_url: str) -> dict[str, str]:
    """Picture id → why it could not be fetched."""
    if not ids:
        return {}
    archive, member = GQA_PICTURES
    members = {member.format(image_id=image_id): image_id for image_id in ids}
    wanted = {name: folder / f"{image_id}.jpg" for name, image_id in members.items()}
    failures = fetch_members(f"{gqa_url}/{archive}", wanted, kept=folder.parent / archive)
    return {members[name]: reason for name, reason in failures.items()}
