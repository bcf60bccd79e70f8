"""The files of a dataset as they are given out: one or a folder of them, packed by gzip or not, a list or line by line."""

import gzip
from pathlib import Path
from typing import BinaryIO, cast

ENDINGS = (".json", ".jsonl")
PACKED = ".gz"
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".bz2", ".xz", ".zst")


def question_files(path: str | Path) -> str | list[str]:
    """The files that are read of what a study names: those of a folder, sorted by name, or the file itself."""
    folder = Path(path)
    if not folder.is_dir():
        return str(path)
    return sorted(str(file) for file in folder.iterdir() if unpacked(file).endswith(ENDINGS) and file.is_file())


def unpacked(path: Path) -> str:
    """The name of a file in lowercase, without the ending that says that gzip packed it."""
    return path.name.lower().removesuffix(PACKED)


def by_lines(path: Path) -> bool:
    """Whether each line of a file is JSON of its own."""
    return unpacked(path).endswith(".jsonl")


def problem_of(path: Path) -> str | None:
    """Why a file of this kind is not read, and what to do; None where it may be one."""
    if path.is_dir():
        return f"this is a folder; give a file, or a folder that holds some ({', '.join(ENDINGS)}, also as {PACKED})"
    if path.name.lower().endswith(ARCHIVES):
        return "this is an archive; unpack it, and give the file or folder that was in it"
    return None


def opened(path: Path) -> BinaryIO:
    """The file, to be read as it was before gzip packed it; errors are those of `open` and, while reading, of gzip
    (`BadGzipFile`, `EOFError`, `zlib.error`)."""
    return cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(PACKED) else path.open("rb")
