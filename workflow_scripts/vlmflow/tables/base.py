"""Tables: columns with types and units, checked when a table is written; a file is written completely or not at all."""

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
    """Type and meaning of a column; the meaning includes the unit."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A kind of file: its name and the columns of every such file."""

    name: str
    columns: dict[str, Column]

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns, for polars."""
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    def frame(self, rows: list[dict] | pl.DataFrame) -> pl.DataFrame:
        """The rows as a frame with exactly this schema and its order of columns.

        Raises:
            TableError: a column is missing, has another type, or holds a null that is not allowed.
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
        """Check the rows and write them as Parquet, completely or not at all."""
        frame = self.frame(rows)
        with whole(path) as temporary:
            frame.write_parquet(temporary)

    def read(self, path: str | Path) -> pl.DataFrame:
        """The checked rows of a file.

        Raises:
            TableError: the file is not a table of this kind.
        """
        try:
            return self.frame(pl.read_parquet(path))
        except (TableError, pl.exceptions.PolarsError) as error:
            raise TableError(f"{path}: {error}") from error


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary file that replaces `path` when the block ends without an error: `with whole(path) as temporary`.

    Raises:
        WriteError: the disk is full, the folder cannot be written into, or something else has the name of the file.
    """
    path = Path(path)
    with _explaining_errors(path):
        handle, temporary = _temporary_file(path)
    try:
        # Any other error inside of the block does not concern this file.
        with _explaining_errors(path, FULL | READ_ONLY):
            yield temporary
        with _explaining_errors(path):
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(handle)


def check_room(paths: Iterable[str | Path]) -> None:
    """Check before a long job that its files can be written; `whole` would report it only after the job.

    Raises:
        WriteError: as for `whole`; or the disk has less than a megabyte of free space.
    """
    for path in {Path(path).parent: Path(path) for path in paths}.values():
        with _explaining_errors(path):
            handle, temporary = _temporary_file(path)
            try:
                temporary.write_bytes(os.urandom(PROBE_BYTES))
            finally:
                with suppress(OSError):
                    temporary.unlink()
                os.close(handle)


PROBE_BYTES = 1_000_000  # size of the file that is written to check for free space
FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS}


def _temporary_file(path: Path) -> tuple[int, Path]:
    """(handle, path) of an empty file beside `path`; the lock on the handle shows others that it is being written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-{'?' * 8}{path.suffix}"):
        _remove_unused(leftover)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle, Path(name)


def _remove_unused(leftover: Path) -> None:
    """Remove the temporary file of a process that was killed, but not a file that is still being written."""
    with suppress(OSError), leftover.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()


@contextmanager
def _explaining_errors(path: Path, numbers: set[int] | None = None) -> Iterator[None]:
    """Turn system errors with these numbers (by default all) into a `WriteError` that names the file and a remedy."""
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
    """The system's number of an error; polars gives it inside of its message."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _remedy(path: Path, number: int) -> str:
    again = "and run the same command again; finished files are kept"
    why = os.strerror(number)
    if number in FULL:
        return f"the disk is full ({why}); make room on the disk of {path.parent}, {again}"
    if number in READ_ONLY or number in (errno.EACCES, errno.EPERM):
        return (
            f"{path.parent} is read-only, or you may not write into it ({why}); make it writable, or run in a folder "
            f"of your own, {again}"
        )
    if number in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"something else has its name, or the name of its folder ({why}); move it away, {again}"
    return f"{why}; remove the cause, {again}"
