"""Fetch single members of a remote zip archive, by HTTP ranges.

Files appear under their names only once they are complete and checked.  The caller chooses where they are written;
names inside of an archive are only looked up, never used as paths.
"""

import contextlib
import copy
import shutil
import threading
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pooch
import requests
import urllib3
from remotezip import (
    PartialBuffer,
    RangeNotSupported,
    RemoteFetcher,
    RemoteIO,
    RemoteIOError,
    RemoteZip,
    RemoteZipError,
)
from tenacity import retry, retry_if_exception, stop_after_attempt

from vlmflow.errors import ContentError, DownloadError, WriteError
from vlmflow.tables import atomic_write

from . import http
from .expected import Expected, Refused
from .http import CONNECTIONS, TIMEOUT

BROKEN_CONNECTION = (OSError, EOFError, RemoteZipError, urllib3.exceptions.HTTPError)
DAMAGED = (zipfile.BadZipFile, zlib.error)
UNREADABLE = (*DAMAGED, RuntimeError)  # a RuntimeError: encrypted, or packed by an unknown method


def fetch_members(
    url: str,
    wanted: Mapping[str, Path],
    kept: Path,
    connections: int = CONNECTIONS,
    expected: Expected | None = None,
) -> dict[str, str]:
    """Fetch members of the zip archive at `url` into the files that `wanted` names for them.

    Each member's CRC is checked.  After a broken connection, fetching continues at the member where it broke.  If a
    server does not support ranges of bytes, the whole archive is first fetched to `kept`; an archive that is already
    there is used.

    Returns:
        member → reason, for each member that the archive does not hold; a `Refused` for each that is damaged or not as
        `expected`.

    Raises:
        DownloadError: the archive cannot be read; files that have been fetched so far stay.
    """
    if is_copy_of(kept, url):
        print(f"{kept} exists already and is used in place of {url}")
        return _extract(_LocalArchive(kept), wanted, 1, expected)
    try:
        return _extract(_RemoteArchive(url, connections), wanted, connections, expected)
    except RangeNotSupported:
        print(f"{url}: this server does not support ranges of bytes, so the whole archive is fetched to {kept}")
        _fetch_whole(url, kept)
        return _extract(_LocalArchive(kept), wanted, 1, expected)


def is_copy_of(kept: Path, url: str) -> bool:
    """Whether an archive on disk is used for the one at `url`: it was fetched from there, or the user put it there."""
    note = note_of(kept)
    return kept.is_file() and (not note.is_file() or note.read_text(encoding="utf-8") == url)


def note_of(kept: Path) -> Path:
    """The file that holds the address from which an archive was fetched."""
    return kept.with_name(f"{kept.name}.from")


def _fetch_whole(url: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)
    try:
        pooch.retrieve(
            url,
            known_hash=None,
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT),
        )
    except OSError as error:
        raise DownloadError(f"{url}: {http.cause(error)}") from error
    note_of(path).write_text(url, encoding="utf-8")


class _LocalArchive:
    """A zip file on disk, for one thread."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self.file = zipfile.ZipFile(path)
        except DAMAGED as error:
            problem = f"this is not a complete zip archive ({error})"
            if not note_of(path).is_file():  # the user's
                raise DownloadError(f"{path}: {problem}; delete it and run again") from error
            path.unlink()
            url = note_of(path).read_text(encoding="utf-8")
            raise DownloadError(f"{url}: {problem}; it is deleted, and the same command fetches it again") from error

    def opened(self) -> zipfile.ZipFile:
        return self.file

    def reopen(self) -> None:
        """A file on disk needs no repair."""

    def close(self) -> None:
        self.file.close()


def _may_pass(error: BaseException) -> bool:
    """Whether another try may help; it does not if the server has answered with an error."""
    answered = isinstance(error.__context__, requests.HTTPError)
    return isinstance(error, RemoteIOError | urllib3.exceptions.HTTPError) and not answered


class _RemoteArchive:
    """A zip archive behind HTTP, for several threads that share its table of contents."""

    def __init__(self, url: str, connections: int) -> None:
        self.name = url
        self.session = http.session(connections)
        headers = {"Accept-Encoding": "identity"}  # ranges of a compressed answer would not be ranges of the archive
        self.fetcher = _SharedContents(url, self.session, timeout=TIMEOUT, headers=headers)
        self.contents = self._open()  # an archive that cannot be read is reported here, before any member
        self.own = threading.local()

    def opened(self) -> zipfile.ZipFile:
        if getattr(self.own, "file", None) is None:
            self.own.file = self._copy()
        return self.own.file

    def _copy(self) -> RemoteZip:
        """The archive for one thread, with a stream of its own.

        The entries are shared: GQA's archive of images has 150,000, which take seconds to read and much memory.
        """
        own = copy.copy(self.contents)
        own.fp = RemoteIO(self.fetcher.fetch)
        own.fp.seek(0, 2)
        own.fp.set_position_to_size(self.contents.fp._member_position_to_size)
        own._lock = threading.RLock()
        return own

    def reopen(self) -> None:
        """Forget this thread's position in the stream, after a broken connection."""
        self.own.file = None

    def close(self) -> None:
        self.contents.close()
        self.session.close()

    @retry(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(http.TRIES),
        wait=lambda state: http.WAIT * 2 ** (state.attempt_number - 1),
        reraise=True,
    )
    def _read_contents(self) -> RemoteZip:
        return RemoteZip(self.name, fetcher=lambda *_, **__: self.fetcher)

    def _open(self) -> RemoteZip:
        try:
            return self._read_contents()
        except RangeNotSupported:
            raise
        except DAMAGED as error:
            raise DownloadError(f"{self.name}: this is not a zip archive ({error})") from error
        except BROKEN_CONNECTION as error:
            raise DownloadError(f"{self.name}: {http.cause(error)}; check the address") from error


class _SharedContents(RemoteFetcher):
    """Fetches the archive's table of contents once; every later opening reads it from memory."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.contents: dict[Any, tuple[bytes, int]] = {}

    def fetch(self, data_range: tuple[int, int | None], stream: bool = False) -> PartialBuffer:
        if stream:
            return super().fetch(data_range, stream)
        if data_range not in self.contents:
            buffer = super().fetch(data_range, stream)
            offset = buffer.tell()
            self.contents[data_range] = buffer.read(), offset
        content, offset = self.contents[data_range]
        return PartialBuffer(BytesIO(content), offset, len(content), stream=False)


def _extract(
    archive: _LocalArchive | _RemoteArchive, wanted: Mapping[str, Path], connections: int, expected: Expected | None
) -> dict[str, str]:
    with contextlib.closing(archive):
        work = partial(_extract_one, archive, expected)
        return http.fetch_each(work, wanted, connections, archive.name.rsplit("/", 1)[-1])


def _extract_one(
    archive: _LocalArchive | _RemoteArchive, expected: Expected | None, member: str, path: Path
) -> str | None:
    """The reason for which the member is not available, or None once it is at `path`.

    Raises:
        DownloadError: the connection broke at every try.
        WriteError: the disk is full, or the folder is not writable.
    """
    for last, pause in http.tries():
        try:
            file = archive.opened()
            try:
                info = file.getinfo(member)
            except KeyError:
                return f"there is no {member} in {archive.name}"
            if expected is not None:
                expected.check_size(info.file_size)  # a member is not unpacked beyond this size, whatever it holds
            # The CRC is compared when the last byte has been read; `atomic_write` then gives the file its name.
            with file.open(info) as source, atomic_write(path) as temporary:
                with temporary.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                if expected is not None:
                    expected.check(temporary)
            return None
        except WriteError:
            raise
        except ContentError as error:
            return Refused(f"{member} in {archive.name}: {error}")
        except UNREADABLE as error:
            archive.reopen()
            if last:
                return Refused(f"{member} in {archive.name} is damaged: {error}")
        except BROKEN_CONNECTION as error:
            archive.reopen()
            if last:
                raise DownloadError(
                    f"{archive.name}: the connection broke {http.TRIES} times at {member} ({http.cause(error)}); "
                    "files that have been fetched so far are kept, and the same command continues from there"
                ) from error
        pause()
    raise AssertionError("the last try returns or raises")
