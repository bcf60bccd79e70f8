"""Find the images of questions on the disk, and fetch the missing ones."""

import json
from pathlib import Path

import polars as pl
import requests
from filelock import FileLock, Timeout

from vlmflow.data.base import ImageSource
from vlmflow.data.images_on_disk import ENDINGS, images_on_disk, is_image_name
from vlmflow.errors import DownloadError
from vlmflow.tables import TASK, atomic_write
from vlmflow.tables.questions import skipped

from .download import fetch_files
from .expected import IMAGE, Refused
from .remote_zip import fetch_members

REACHED = 5  # seconds in which a server has to answer before a run is planned, or it gets no further request


def with_images(
    candidates: pl.DataFrame, source: ImageSource, *, task: str, note: Path | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `task`: the candidates whose image is there; rows of `skipped` for the others).

    Args:
        candidates: rows of the table `candidates`.
        source: the folder of their images, and the address of missing ones.
        task: for the skipped rows.
        note: the file to which the ids of refused images are written, if there are any; for `ask_again`.

    Raises:
        DownloadError: the archive of images cannot be read, their server cannot be reached, or nothing that it sends
            is an image.
    """
    folder = Path(source.folder)
    ids = candidates["image_id"].unique(maintain_order=True).to_list()
    reasons = {image_id: f"{image_id!r} is not a name of an image" for image_id in ids if not is_image_name(image_id)}
    ids = [image_id for image_id in ids if image_id not in reasons]
    found = images_on_disk(ids, source)
    missing = [image_id for image_id in ids if image_id not in found]
    if missing and source.url is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # One job at a time: others use the server too, and images that another job has fetched are not fetched again.
        with FileLock(folder.parent / ".fetching.lock"):
            found |= images_on_disk(missing, source)
            reasons |= _fetch([image_id for image_id in missing if image_id not in found], source)
        found |= images_on_disk(missing, source)
    refused = {image_id: why for image_id, why in reasons.items() if isinstance(why, Refused)}
    if refused and len(refused) == len(ids):
        first = next(iter(refused.values()))
        raise DownloadError(f"none of the {len(ids)} files that the server sent is an image; the first reason: {first}")
    if note is not None:
        _write_down(list(refused), note)
    not_there = f"there is no image {{}} ({', '.join(ENDINGS)}) in {folder}"
    reasons |= {name: not_there.format(name) for name in missing if name not in found and name not in reasons}
    print(f"{task}: {len(candidates)} questions on {len(ids)} images; {len(reasons)} of these images are not available")

    def by_image(texts: dict[str, str]) -> pl.Expr:
        return pl.col("image_id").replace_strict(texts, default=None, return_dtype=pl.String)

    with_paths = candidates.with_columns(image=by_image(found), reason=by_image(reasons))
    kept = with_paths.filter(pl.col("image").is_not_null()).select(list(TASK.columns))
    missing_rows = with_paths.filter(pl.col("image").is_null())
    return kept, skipped(missing_rows["question_id"], missing_rows["reason"], stage="images", task=task)


def _fetch(ids: list[str], source: ImageSource) -> dict[str, str]:
    """Image id → the reason for which it could not be fetched."""
    reasons = {}
    names = {}
    for image_id in ids:
        if "{number" in source.name and not image_id.isdecimal():
            reasons[image_id] = f"{image_id!r} is not a number, but the images at {source.url} have numbers as names"
        else:
            number = int(image_id) if image_id.isdecimal() else None
            names[source.name.format(image_id=image_id, number=number)] = image_id
    folder = Path(source.folder)
    wanted = {name: folder / f"{image_id}.jpg" for name, image_id in names.items()}
    if not wanted:
        return reasons
    if source.archive is not None:
        archive = f"{source.url}/{source.archive}"
        failures = fetch_members(archive, wanted, kept=folder.parent / source.archive, expected=IMAGE)
    else:
        urls = {f"{source.url}/{name}": name for name in wanted}
        fetched = fetch_files({url: wanted[name] for url, name in urls.items()}, expected=IMAGE)
        failures = {urls[url]: why for url, why in fetched.items()}
    return reasons | {names[name]: _with_remedy(reason, wanted[name]) for name, reason in failures.items()}


def _with_remedy(reason: str, path: Path) -> str:
    """The reason; for a refused file, also what to do."""
    if not isinstance(reason, Refused):
        return reason
    return Refused(f"{reason}; it is not kept, and the next run requests it again; you can also put it at {path}")


def _write_down(refused: list[str], note: Path) -> None:
    """Write the ids of images that were refused; where there are none, delete the file."""
    if not refused:
        note.unlink(missing_ok=True)
        return
    with atomic_write(note) as temporary:
        temporary.write_text(json.dumps({"images": refused}, indent=1) + "\n", encoding="utf-8")


def ask_again(note: Path, came: Path, source: ImageSource, refused_again: dict[tuple[ImageSource, str], str]) -> str:
    """The result, as a message, of requesting once more the images that were refused in an earlier run.

    Args:
        note: the file with their ids.
        came: the file to which the ids of those are added that are there now, fetched or put there by hand; a job that
            depends on this file then runs again.
        source: the folder of the images, and the address of missing ones.
        refused_again: (source, image id) → reason for which this run did not get the image, and does not request it
            for another note; images that do not come now are added.
    """
    known = json.loads(note.read_text(encoding="utf-8"))["images"]
    ids = [image_id for image_id in known if is_image_name(image_id)]
    try:
        missing = [image_id for image_id in ids if image_id not in images_on_disk(ids, source)]
        why = _request_once(missing, source, refused_again)
        found = images_on_disk(ids, source)
        if found:
            with atomic_write(came) as temporary:
                before = came.read_text(encoding="utf-8") if came.is_file() else ""
                temporary.write_text(before + "".join(f"{name}\n" for name in found), encoding="utf-8")
            _write_down([image_id for image_id in ids if image_id not in found], note)
    except OSError as error:
        return f"{note}: {len(ids)} images that were refused before could not be requested again ({error})"
    message = f"{source.folder}: {len(found)} of {len(ids)} images that were refused before have now arrived"
    return f"{message}; {why}" if why else message


def _request_once(ids: list[str], source: ImageSource, refused_again: dict[tuple[ImageSource, str], str]) -> str:
    """Request images once more; return the reason for which some did not come, or an empty text."""
    known = [refused_again[source, image_id] for image_id in ids if (source, image_id) in refused_again]
    ids = [image_id for image_id in ids if (source, image_id) not in refused_again]
    if not ids or source.url is None:
        return next(iter(known), "")
    try:
        requests.head(source.url, timeout=REACHED, allow_redirects=False).close()
        with FileLock(Path(source.folder).parent / ".fetching.lock", timeout=0):
            reasons = _fetch(ids, source)
    except Timeout:
        reasons = dict.fromkeys(ids, "another run is fetching images now")
    except (DownloadError, requests.RequestException) as error:
        reasons = dict.fromkeys(ids, f"the server could not be reached ({error})")
    refused_again |= {(source, image_id): reason for image_id, reason in reasons.items()}
    return next(iter([*reasons.values(), *known]), "")
