"""Files that are written completely or not at all."""

import errno
import fcntl
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from vlmflow.errors import WriteError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary file that replaces `path` when the block ends without an error.

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


def check_writable(paths: Iterable[str | Path]) -> None:
    """Check before a long job that its files can be written; `atomic_write` would report it only after the job.

    Raises:
        WriteError: as for `atomic_write`; or the disk has less than a megabyte of free space.
    """
    for path in {Path(path).parent: Path(path) for path in paths}.values():
        with _explaining_errors(path):
            handle, temporary = _temporary_file(path)
            try:
                temporary.write_bytes(os.urandom(TRIAL_BYTES))
            finally:
                with suppress(OSError):
                    temporary.unlink()
                os.close(handle)


TRIAL_BYTES = 1_000_000  # size of the file that is written to check for free space
FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS}


def _temporary_file(path: Path) -> tuple[int, Path]:
    """(handle, path) of an empty file beside `path`; the lock on the handle shows others that it is being written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-{'?' * 8}{path.suffix}"):
        _remove_unused(leftover)
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Before it was locked, another process may have taken it for a leftover and removed it.
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)


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
