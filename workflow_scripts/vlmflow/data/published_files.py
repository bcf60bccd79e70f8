"""The files of a dataset as they are published: one file or a folder, packed by gzip or not, one JSON value or
lines."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from vlmflow.errors import DatasetError

ENDINGS = (".json", ".jsonl")
PACKED = ".gz"
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".bz2", ".xz", ".zst")


def question_files(path: str | Path) -> str | list[str]:
    """The files that are read for a path of a study: those of a folder, sorted by name, or the file itself."""
    folder = Path(path)
    if not folder.is_dir():
        return str(path)
    files = {file.name: file for file in folder.iterdir() if unpacked(file).endswith(ENDINGS) and file.is_file()}
    # Some systems leave hidden files beside the real ones, and an unpacked file may still be there packed.
    doubled = {f"{name}{PACKED}" for name in files}
    return sorted(str(file) for name, file in files.items() if not name.startswith(".") and name not in doubled)


def unpacked(path: Path) -> str:
    """The name of a file in lowercase, without the ending of gzip."""
    return path.name.lower().removesuffix(PACKED)


def by_lines(path: Path) -> bool:
    """Whether each line of a file is a JSON value of its own."""
    return unpacked(path).endswith(".jsonl")


def problem_with(path: Path, *, folders: bool) -> str | None:
    """The reason for which a path cannot be read, and what to give instead; None if it may be read.

    Args:
        path: of a file, or of a folder of them.
        folders: whether a folder is allowed.
    """
    if path.is_dir():
        if not folders:
            return "this is a folder; give a file"
        return None if question_files(path) else f"this folder holds no files that end with {' or '.join(ENDINGS)}"
    if path.name.lower().endswith(ARCHIVES):
        return "this is an archive; unpack it, and give the unpacked file"
    return None


@contextmanager
def reading(path: Path, expected: str) -> Iterator[BinaryIO]:
    """The file as it was before gzip packed it, read as a stream; `expected` describes its content in messages.

    Raises:
        DatasetError: there is no such file, it is packed in another way, or it is incomplete.
    """
    if problem := problem_with(path, folders=False):
        raise DatasetError(f"{path}: {problem}; expected {expected}")
    try:
        with gzip.open(path) if path.name.lower().endswith(PACKED) else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; expected {expected}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: this is not a complete .gz file ({error}); fetch or copy it again") from error
