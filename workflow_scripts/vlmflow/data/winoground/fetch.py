"""Fetch Winoground from the Hugging Face hub, which gives access only on request."""

import json
import shutil
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from vlmflow.data.base import HubDataset
from vlmflow.data.fetch.expected import IMAGE
from vlmflow.data.fetch.hub import fetch_dataset
from vlmflow.errors import ContentError, HubError, NoAccessError
from vlmflow.tables import atomic_write

EXAMPLES = "data/examples.jsonl"  # in the dataset
ARCHIVE = "data/images.zip"
ENDINGS = (".jpg", ".png")
FOLDER = "images"  # in the archive
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # a RuntimeError: encrypted


def fetch_winoground(source: HubDataset, access: Path, examples: Path, images: Path) -> dict[str, Any]:
    """Fetch the examples to a file and the images into a folder; without access both are left empty.

    Args:
        source: the dataset on the hub.
        access: the file to which the returned value is written as JSON.
        examples, images: the file and the folder.

    Returns:
        repository, revision, granted: whether there is access, reason: why there is no access, and what to do; refused,
            if
        any were: name of an image in the archive → the reason for which it is not kept.

    Raises:
        HubError: no network, no such revision, or files that are not Winoground's.
    """
    images.mkdir(parents=True, exist_ok=True)
    account = asdict(source) | _fetch(source, access, examples, images)
    with atomic_write(access) as temporary:
        temporary.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
    return account


def _fetch(source: HubDataset, access: Path, examples: Path, images: Path) -> dict[str, Any]:
    """The outcome, as `fetch_winoground` returns it."""
    try:
        found, archive = fetch_dataset(source.repository, source.revision, [EXAMPLES, ARCHIVE])
    except NoAccessError as error:
        examples.write_bytes(b"")
        return {"granted": False, "reason": _no_access_message(source.repository, access, error)}
    with atomic_write(examples) as temporary:
        shutil.copyfile(found, temporary)
    count, refused = unpack_images(archive, images)
    if not count:
        why = f"; {next(iter(refused.values()))}" if refused else ""
        raise HubError(
            f"{source.repository}: there is no image ({', '.join(ENDINGS)}) under {FOLDER}/ in {archive}{why}"
        )
    again = f"delete {archive} and {access} and run the same command again"
    account: dict[str, Any] = {"granted": True, "reason": None}
    return account | ({"refused": {name: f"{why}; {again}" for name, why in refused.items()}} if refused else {})


def _no_access_message(repository: str, access: Path, error: NoAccessError) -> str:
    """The message about missing access: what is missing, and how to get it."""
    return (
        f"the captions and images of Winoground are missing, since this machine has no access to them ({error}); "
        f"request access at https://huggingface.co/datasets/{repository}, log in with `hf auth login` or set HF_TOKEN, "
        f"delete {access} and run the same command again"
    )


def unpack_images(archive: Path, folder: Path) -> tuple[int, dict[str, str]]:
    """Unpack the images under images/ of a zip archive, each by its own name; other members are not unpacked.

    Returns:
        their number, and name without ending → reason, for each file that is not an image and not kept.

    Raises:
        HubError: the archive is damaged.
    """
    count, refused = 0, {}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if (name := _image_name(member.filename)) is None:
                    continue
                try:
                    IMAGE.check_size(member.file_size)
                    with opened.open(member) as source, atomic_write(folder / name) as temporary:
                        with temporary.open("wb") as target:
                            shutil.copyfileobj(source, target)
                        IMAGE.check(temporary)
                    count += 1
                except ContentError as error:
                    refused[Path(name).stem] = f"{member.filename} in {archive}: {error}"
    except UNREADABLE as error:
        raise HubError(f"{archive}: this is not a complete zip archive ({error}); delete it and run again") from error
    return count, refused


def _image_name(member: str) -> str | None:
    """The name under which a member is unpacked; None unless it is an image in the folder itself, so none leaves it."""
    path = PurePosixPath(member)
    taken = path.parts[:-1] == (FOLDER,) and path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    return path.name if taken else None
