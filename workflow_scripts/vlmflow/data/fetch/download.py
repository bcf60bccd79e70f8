"""Download files: by checksum, single images, or one file out of an archive.

Files appear under their names only once they are complete.
"""

import contextlib
import gzip
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests

from vlmflow.data.base import Download
from vlmflow.errors import ContentError, DownloadError
from vlmflow.tables import atomic_write

from . import http
from .expected import Expected, Refused
from .http import CONNECTIONS, TIMEOUT
from .remote_zip import fetch_members, is_copy_of, note_of

# A server's answer if it refuses all requests; or, if it does not list its files, for a single file that is missing.
FORBIDDEN = "the server answers 403"


def download(source: Download, path: Path) -> None:
    """Fetch one file, by its address or out of an archive.

    Raises:
        DownloadError: the server does not send it, or sends another file.
    """
    if source.member is None:
        fetch_file(source.url, path, source.sha256)
    else:
        fetch_archived(source.url, source.member, path)


def fetch_file(url: str, path: Path, sha256: str | None) -> None:
    """Fetch one file; if its checksum is known it is checked, also for a file that is already there.

    Raises:
        DownloadError: the server does not send it, or sends another file.
    """
    source = pooch.create(
        path=path.parent,
        base_url=url.rsplit("/", 1)[0] + "/",
        registry={path.name: sha256},
        retry_if_failed=http.TRIES - 1,
    )
    source.urls[path.name] = url
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    try:
        source.fetch(path.name, downloader=downloader)
    except ValueError as error:
        raise DownloadError(f"{url}: this is not the expected file ({error})") from error
    except OSError as error:
        raise DownloadError(f"{url}: {http.cause(error)}") from error


def fetch_archived(url: str, member: str, path: Path) -> None:
    """Fetch one file out of an archive: from a .zip only that file, by ranges of bytes; a .tar.gz is fetched as a whole
    and kept beside the file.

    Args:
        url: of the archive.
        member: the file's name in the archive, in a .tar.gz without its folder.
        path: the file that is written.

    Raises:
        DownloadError: the archive is not available, or does not hold the file.
    """
    name = urlsplit(url).path.rsplit("/", 1)[-1]
    kept = path.parent / name
    if name.endswith(".zip"):
        if failures := fetch_members(url, {member: path}, kept=kept):
            raise DownloadError(f"{url}: {failures[member]}")
        return
    if not is_copy_of(kept, url):
        kept.unlink(missing_ok=True)
        fetch_file(url, kept, sha256=None)
        note_of(kept).write_text(url, encoding="utf-8")
    try:
        with tarfile.open(kept, "r:gz") as archive:
            found = next((each for each in archive if PurePosixPath(each.name).name == member and each.isfile()), None)
            if found is None:
                raise DownloadError(f"{url}: there is no {member} in this archive")
            content = archive.extractfile(found)
            assert content is not None  # it is a file
            with atomic_write(path) as temporary, temporary.open("wb") as target:
                shutil.copyfileobj(content, target)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        kept.unlink(missing_ok=True)
        raise DownloadError(
            f"{url}: this is not a complete .tar.gz archive ({error}); run the same command again"
        ) from error


def fetch_files(
    wanted: Mapping[str, Path], connections: int = CONNECTIONS, expected: Expected | None = None
) -> dict[str, str]:
    """Fetch single files, address → path; after a broken connection there is another try.

    Returns:
        address → reason, for each file that its server does not have; a `Refused` for each that is not as `expected`.

    Raises:
        DownloadError: a server cannot be reached, refuses everything, or breaks off at every try; files that have been
            fetched so far stay.
    """
    with contextlib.closing(http.session(connections)) as opened:
        failures = http.fetch_each(partial(_fetch_one, opened, expected), wanted, connections, "files")
    if wanted and len(failures) == len(wanted) and all(FORBIDDEN in reason for reason in failures.values()):
        raise DownloadError(f"{next(iter(failures.values()))}, for each of the {len(wanted)} requested files")
    return failures


def _fetch_one(opened: requests.Session, expected: Expected | None, url: str, path: Path) -> str | None:
    """The reason for which the file is not available, or None once it is at `path`."""
    for last, pause in http.tries():
        try:
            with opened.get(url, stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code in (403, 404, 410):
                    return f"{url}: the server answers {answer.status_code} {answer.reason}"
                answer.raise_for_status()
                with atomic_write(path) as temporary:
                    _receive(answer, temporary, expected)
            return None
        except (ContentError, requests.exceptions.ContentDecodingError) as error:
            return Refused(f"{url}: {error}")
        except requests.RequestException as error:
            if last:
                raise DownloadError(
                    f"{url}: {http.cause(error)}; files that have been fetched so far are kept, and the same command "
                    "continues from there"
                ) from error
        pause()
    raise AssertionError("the last try returns or raises")


def _receive(answer: requests.Response, path: Path, expected: Expected | None) -> None:
    """Write a server's answer to a file, up to the largest size: a few bytes can unpack to any number."""
    with path.open("wb") as target:
        for piece in answer.iter_content(1 << 20):
            target.write(piece)
            if expected is not None:
                expected.check_size(target.tell())
    if expected is not None:
        expected.check(path)
