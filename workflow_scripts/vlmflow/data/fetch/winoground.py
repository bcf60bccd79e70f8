"""Fetch Winoground, which the Hugging Face hub gives to those only who asked for access."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from vlmflow.data.sources import WINOGROUND_EXAMPLES, WINOGROUND_PICTURES
from vlmflow.errors import ContentError, HubError, NoAccessError
from vlmflow.tables import whole

from .expected import IMAGE
from .hub import fetch_dataset

ENDINGS = (".jpg", ".png")
FOLDER = "images"  # in the archive
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # a RuntimeError: encrypted


def fetch_winoground(
    repository: str, revision: str | None, access: Path, examples: Path, pictures: Path
) -> dict[str, Any]:
    """Fetch the examples to a file and the pictures into a folder; without access both are left empty.

    Args:
        repository, revision: of the dataset on the hub.
        access: the file in which what is returned will be written down, for the message.
        examples, pictures: the file and the folder.

    Returns:
        repository, revision, granted: whether there is access, reason: why not and what to do; refused, if any were:
        name of an image in the archive → why it is not kept.

    Raises:
        HubError: no network, no such revision, or files that are not Winoground's.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    account = {"repository": repository, "revision": revision, "granted": True, "reason": None}
    try:
        found, archive = fetch_dataset(repository, revision, [WINOGROUND_EXAMPLES, WINOGROUND_PICTURES])
    except NoAccessError as error:
        examples.write_bytes(b"")
        return account | {"granted": False, "reason": what_to_do(repository, access, error)}
    with whole(examples) as temporary:
        shutil.copyfile(found, temporary)
    count, refused = take_pictures(archive, pictures)
    if not count:
        why = f"; {next(iter(refused.values()))}" if refused else ""
        raise HubError(f"{repository}: there is no picture ({', '.join(ENDINGS)}) under {FOLDER}/ in {archive}{why}")
    again = f"delete {archive} and {access} and run the same command again"
    return account | ({"refused": {name: f"{why}; {again}" for name, why in refused.items()}} if refused else {})


def what_to_do(repository: str, access: Path, error: NoAccessError) -> str:
    """What is missing without access, and how to get it."""
    return (
        f"the captions and pictures of Winoground are missing, since there is no access to them from here ({error}); "
        f"ask for access at https://huggingface.co/datasets/{repository}, log in with `hf auth login` or set HF_TOKEN, "
        f"delete {access} and run the same command again"
    )


def take_pictures(archive: Path, folder: Path) -> tuple[int, dict[str, str]]:
    """Unpack the pictures under images/ of a zip archive, each by its own name; what else it holds is left where it is.

    Returns:
        how many there were, and name without ending → reason, of each that is no image and not kept.

    Raises:
        HubError: the archive is damaged.
    """
    count, refused = 0, {}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if (name := _picture_name(member.filename)) is None:
                    continue
                try:
                    IMAGE.check_size(member.file_size)
                    with opened.open(member) as source, whole(folder / name) as temporary:
                        with temporary.open("wb") as target:
                            shutil.copyfileobj(source, target)
                        IMAGE.check(temporary)
                    count += 1
                except ContentError as error:
                    refused[Path(name).stem] = f"{member.filename} in {archive}: {error}"
    except UNREADABLE as error:
        raise HubError(f"{archive}: this is no whole zip archive ({error}); delete it and run again") from error
    return count, refused


def _picture_name(member: str) -> str | None:
    """The name by which a member is taken: only of pictures that lie in the folder itself, so that none leaves it."""
    path = PurePosixPath(member)
    taken = path.parts[:-1] == (FOLDER,) and path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    return path.name if taken else None
