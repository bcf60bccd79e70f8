"""What a table is: columns with types and units, checked when it is written, and written whole or not at all."""

import errno
import fcntl
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vlmflow.errors import TableError, WriteError


@dataclass(frozen=True)
class Column:
    """Type and meaning, with its unit, of a column."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A kind of file: what every one of them holds."""

    name: str
    columns: dict[str, Column]

    @property
    def schema(self) -> pl.Schema:
        """Names and types, as polars has them."""
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    def frame(self, rows: list[dict] | pl.DataFrame) -> pl.DataFrame:
        """Rows as a frame of exactly this schema, in its order of columns.

        Raises:
            TableError: a column is missing, of another type, or holds a null that it must not.
        """
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=self.schema, orient="row")
        if missing := set(self.columns) - set(frame.columns):
            raise TableError(f"table {self.name}: without the column(s) {', '.join(sorted(missing))}")
        try:
            frame = frame.select(list(self.columns)).cast(self.schema)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"table {self.name}: {error}") from error
        for name, column in self.columns.items():
            if not column.nullable and (nulls := frame[name].null_count()):
                raise TableError(f"table {self.name}, column {name}: {nulls} value(s) are missing")
            if column.dtype in (pl.Float32, pl.Float64) and (nans := frame[name].is_nan().sum()):
                raise TableError(f"table {self.name}, column {name}: {nans} value(s) are not a number")
        return frame

    def write(self, rows: list[dict] | pl.DataFrame, path: str | Path) -> None:
        """Check and write as Parquet, whole or not at all."""
        frame = self.frame(rows)
        with whole(path) as temporary:
            frame.write_parquet(temporary)

    def read(self, path: str | Path) -> pl.DataFrame:
        """Read and check.

        Raises:
            TableError: the file is no such table.
        """
        try:
            return self.frame(pl.read_parquet(path))
        except (TableError, pl.exceptions.PolarsError) as error:
            raise TableError(f"{path}: {error}") from error


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place once the block has ended well: `with whole(path) as name`.

    Raises:
        WriteError: the disk is full, the folder is read-only or not the user's, or something else is in its place.
    """
    path = Path(path)
    with _told(path):
        handle, temporary = _beside(path)
    try:
        # What else goes wrong inside of the block is not about this file.
        with _told(path, FULL | READ_ONLY):
            yield temporary
        with _told(path):
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(handle)


def check_room(paths: Iterable[str | Path]) -> None:
    """Find out before a long job whether its files can be written: `whole` finds out after it.

    Raises:
        WriteError: as `whole`; or a folder has not even room for a megabyte.
    """
    for path in {Path(path).parent: Path(path) for path in paths}.values():
        with _told(path):
            handle, temporary = _beside(path)
            try:
                temporary.write_bytes(os.urandom(ROOM))
            finally:
                with suppress(OSError):
                    temporary.unlink()
                os.close(handle)


ROOM = 1_000_000  # bytes
FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS}


def _beside(path: Path) -> tuple[int, Path]:
    """An empty file of another name, and the handle by whose lock others see that it is being written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.stem)}-{'?' * 8}{path.suffix}"):
        _remove(left)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle, Path(name)


def _remove(left: Path) -> None:
    """Take away what a process that was killed has left behind; nothing that is still being written."""
    with suppress(OSError), left.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left.unlink()


@contextmanager
def _told(path: Path, numbers: set[int] | None = None) -> Iterator[None]:
    """Say of errors with these numbers, or of any that the disk gives, which file is not written and what to do."""
    try:
        yield
    except WriteError:
        raise
    except (OSError, pl.exceptions.PolarsError) as error:
        number = _number(error)
        if number is None or (numbers is not None and number not in numbers):
            raise
        raise WriteError(f"{path} cannot be written: {_remedy(path, number)}") from error


def _number(error: Exception) -> int | None:
    """The system's number of an error; polars gives it within a text."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _remedy(path: Path, number: int) -> str:
    again = "and run the same command again, which goes on from what is finished"
    why = os.strerror(number)
    if number in FULL:
        return f"the disk is full ({why}); make room on the disk of {path.parent}, {again}"
    if number in READ_ONLY or number in (errno.EACCES, errno.EPERM):
        return (
            f"{path.parent} is read-only, or not yours to write into ({why}); make it writable, or run in a folder of "
            f"your own, {again}"
        )
    if number in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"something else lies in its place, or in that of its folder ({why}); move it away, {again}"
    return f"{why}; see to it, {again}"
