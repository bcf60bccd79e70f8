"""Digests of files by content, so that a changed file is noticed, and a file that is merely touched is not.

Reading all weights and images whenever a run is planned would take minutes.  A digest is therefore kept with the
file's size, times and inode, and computed again only if one of them differs.  Copying a file with its old date, or
writing into it, always changes its `ctime`.
"""

import hashlib
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from vlmflow.tables import Column, Table, TableError, WriteError

CONTENTS = Table(
    "contents of files",
    {
        "path": Column(pl.String, "absolute path of the file"),
        "size": Column(pl.Int64, "bytes"),
        "modified": Column(pl.Int64, "nanoseconds since 1970"),
        "changed": Column(pl.Int64, "nanoseconds since 1970 of the last change of content, owner, mode or name"),
        "inode": Column(pl.UInt64, "number of the file in its file system"),
        "sha256": Column(pl.String, "of the content"),
    },
)
SETTLED = 2_000_000_000  # nanoseconds after which a further change of a file is sure to have another time
BLOB = "blobs"  # the folder of the hub's cache whose files are named by the SHA-256 of their content


class _Status(NamedTuple):
    size: int
    modified: int
    changed: int
    inode: int


class Contents:
    """The digests of the files that one process asks for.

    Args:
        note: the file in which digests are kept between processes; it may be missing.
    """

    def __init__(self, note: Path) -> None:
        self.note = note
        self._known = self._read()
        self._new: dict[str, tuple[_Status, str]] = {}
        self._asked: dict[str, str] = {}

    def digest(self, path: str | Path) -> str:
        """The SHA-256 of a file's content, as hexadecimal digits; within one process it is determined once.

        Raises:
            OSError: the file is missing or cannot be read.
        """
        name = str(Path(path).absolute())
        if name not in self._asked:
            self._asked[name] = self._digest(Path(path), name)
        return self._asked[name]

    def digest_of_all(self, paths: Iterable[str | Path]) -> str:
        """A digest of the names and contents of several files, whichever folder they are in.

        Raises:
            OSError: a file is missing or cannot be read.
        """
        return digest_of(sorted((Path(path).name, self.digest(path)) for path in paths))

    def save(self) -> None:
        """Keep the new digests for later processes; without an error if the note cannot be written."""
        if not self._new:
            return
        known = self._read() | self._new  # another process may have added some
        rows = [{"path": path, **status._asdict(), "sha256": digest} for path, (status, digest) in known.items()]
        with suppress(WriteError, OSError):
            CONTENTS.write(rows, self.note)
            self._known, self._new = known, {}

    def _digest(self, path: Path, name: str) -> str:
        target = path.resolve(strict=True)
        if target.parent.name == BLOB and len(target.name) == 64:
            return target.name
        status = _status(path)
        known = self._known.get(name)
        if known is not None and known[0] == status:
            return known[1]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if max(status.modified, status.changed) + SETTLED < time.time_ns() and _status(path) == status:
            self._new[name] = (status, digest)
        return digest

    def _read(self) -> dict[str, tuple[_Status, str]]:
        try:
            rows = CONTENTS.read(self.note).iter_rows()
        except (TableError, OSError):
            return {}
        return {path: (_Status(*status), digest) for path, *status, digest in rows}


def contents_note(store: Path) -> Path:
    """The file of a store in which digests are kept."""
    return store / "contents.parquet"


def digest_of(value: object) -> str:
    """The SHA-256 of a value's text, as hexadecimal digits."""
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def _status(path: Path) -> _Status:
    status = path.stat()
    return _Status(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
