"""Which measurements the tables of results were written from, and the removal of all others from the store.

Every job leaves a note for its table, in the folder `used` of the store.  Paths in notes are relative to the store, so
that a working folder can be moved or copied with it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vlmflow.tables import Column, Table, TableError, atomic_write

from .contents import digest_of

USED = Table(
    "used measurements",
    {
        "table": Column(pl.String, "path of the table of results, relative to the store"),
        "collection": Column(pl.String, "path of the collection, relative to the store"),
        "key": Column(pl.String, "digest of a question that the table is about"),
    },
)
NOTES = "used"
RECENT = 3600  # seconds for which a file that no table uses is kept: its job may still run


@dataclass(frozen=True)
class Cleaned:
    """What was kept and removed: numbers of measurements, and bytes that the files of the store have lost."""

    kept: int
    removed: int
    size: int


def note_used(store: Path, table: str | Path, collection: Path, keys: Iterable[str]) -> None:
    """Note that a table of results is written from these measurements.

    Raises:
        WriteError: the store cannot be written into.
    """
    relative = os.path.relpath(table, store)
    rows = pl.DataFrame({"key": sorted(set(keys))}, schema={"key": pl.String}).with_columns(
        table=pl.lit(relative), collection=pl.lit(os.path.relpath(collection, store))
    )
    USED.write(rows, store / NOTES / f"{digest_of(relative)[:32]}.parquet")


def clean(store: Path, now: float) -> Cleaned:
    """Remove the measurements from which no table of results was written.

    Args:
        store: the folder.
        now: seconds since 1970.
    """
    used = _used_keys(store)
    kept = removed = 0
    before = _size(store)
    for folder in sorted(path.parent for path in store.glob("*/*/about.json")):
        keys = used.get(os.path.relpath(folder, store), set())
        for path in sorted(folder.glob("*.parquet")):
            measured, old = _measurements(path), path.stat().st_mtime + RECENT < now
            if measured is None:
                if old:
                    path.unlink(missing_ok=True)
                continue
            needed = measured.filter(pl.col("key").is_in(list(keys)))
            if len(needed) < len(measured) and old:
                _replace(path, needed)
                removed += len(measured) - len(needed)
                kept += len(needed)
            else:
                kept += len(measured)
        if not any(folder.glob("*.parquet")):
            (folder / "about.json").unlink()
            folder.rmdir()
    return Cleaned(kept, removed, before - _size(store))


def _measurements(path: Path) -> pl.DataFrame | None:
    """The measurements of a file; None if it is the half-written one of a killed job, or cannot be read."""
    try:
        return None if path.name.startswith(".") else pl.read_parquet(path)
    except pl.exceptions.PolarsError:
        return None


def _used_keys(store: Path) -> dict[str, set[str]]:
    """Collection → the keys that tables of results use; notes of tables that are gone are removed."""
    used: dict[str, set[str]] = {}
    for path in (store / NOTES).glob("*.parquet"):
        try:
            note = USED.read(path)
        except (TableError, FileNotFoundError):
            continue
        tables = note["table"].unique().to_list()
        if not all((store / table).is_file() for table in tables):
            path.unlink(missing_ok=True)
            continue
        for (collection,), keys in note.group_by("collection"):
            used.setdefault(str(collection), set()).update(keys["key"])
    return used


def _replace(path: Path, rows: pl.DataFrame) -> None:
    """Replace a file by one with these rows; without any, remove it."""
    if not len(rows):
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as temporary:
        rows.write_parquet(temporary)


def _size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
