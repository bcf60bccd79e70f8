"""The files of the store: measurements of single questions, written as a job goes.

A *collection* holds the measurements of one model, probe, code and so on; it is one folder, named by the digest of all
of these, beside `about.json`, which spells them out.  Each job adds files of its own, written whole or not at all, and
never changes another job's.  So any number of jobs and runs may work at the same time, on a shared file system too, and
without locks.  Two jobs that measure the same question write the same rows.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from vlmflow.tables import Column, Skipped, Table, TableError, atomic_write

from .contents import digest_of

FOLDER = "VLMFLOW_STORE"  # environment variable that names the store's folder
DEFAULT = "results/store"
SAVED_EVERY = 20.0  # seconds; a killed job loses what it measured since then
MOST_FILES = 16  # files of one job, from which on they become one

END = "none left"  # the last of a measurement's `others` if there were no more questions to read
# Columns of a probe's table that say which question a row is about; they are not part of a measurement.
ABOUT_QUESTION = ("task", "question_id", "image_id")


def store_folder() -> Path:
    """The folder of the store: that which the environment names, or results/store of the working folder."""
    return Path(os.environ.get(FOLDER) or DEFAULT)


@dataclass(frozen=True)
class Measurement:
    """What is kept of one question.

    Attributes:
        rows: the measured rows, without the columns `ABOUT_QUESTION`; none if the question cannot be measured.
        left_out: the parts of the question that do not apply to it.
        failure: (kind of error, reason) if the question cannot be measured.
        others: digests of the other questions that were read, in their order.
    """

    rows: pl.DataFrame | None
    left_out: Sequence[Skipped] = ()
    failure: tuple[str, str] | None = None
    others: tuple[str, ...] = ()


def _kept_table(table: Table) -> Table:
    """The table of a collection's files: a row per measured question of `table`."""
    rows = pl.Struct({name: column.dtype for name, column in table.columns.items() if name not in ABOUT_QUESTION})
    return Table(
        f"store of {table.name}",
        {
            "key": Column(pl.String, "digest of the question's row and image"),
            "others": Column(pl.List(pl.String), "digests of the other questions that were read"),
            "failure": Column(pl.List(pl.String), "kind of error, and reason, or empty"),
            "left_out": Column(pl.List(pl.Struct({"what": pl.String, "reason": pl.String})), "parts that do not apply"),
            "rows": Column(pl.List(rows), "the measured rows"),
        },
    )


class Collection:
    """The measurements of one probe on one model, as one job reads them and adds to them; a context manager.

    Args:
        kind: a name for people: answers, or the kind of the probe.
        depends_on: everything that its measurements depend on besides the question.
        table: of the measured rows.
        folder: of the store.
    """

    def __init__(self, kind: str, depends_on: Mapping[str, Any], table: Table, folder: Path | None = None) -> None:
        self.table = table
        self.address = digest_of(json.dumps([kind, depends_on], sort_keys=True))
        self.folder = (folder or store_folder()) / kind / self.address[:32]
        self._about = {"kind": kind} | dict(depends_on)
        self._kept = _kept_table(table)
        self._found: dict[str, list[Measurement]] = {}
        self._added: list[tuple[str, Measurement]] = []
        self._saved = 0  # how many of the added ones are in files
        self._files: list[Path] = []
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save(whole=True)

    @property
    def added(self) -> int:
        """The number of measurements that this job added."""
        return len(self._added)

    def load(self, keys: Iterable[str]) -> None:
        """Read the measurements of these questions, as far as there are any."""
        wanted = pl.Series(list(keys), dtype=pl.String)
        for path in sorted(self.folder.glob("[!.]*.parquet")):  # not those that are being written
            kept = self._read(path, wanted)
            for row, rows in zip(kept.drop("rows").iter_rows(named=True), kept["rows"], strict=True):
                self._found.setdefault(row["key"], []).append(_measurement(row, rows))

    def find(self, key: str, others: Callable[[int], Sequence[str | None]]) -> Measurement | None:
        """The measurement of a question; None if there is none.

        Args:
            key: of the question.
            others: the digests of the first few other questions that a measurement could read now.
        """
        kept = self._found.get(key, ())
        return next((each for each in kept if tuple(others(len(each.others))) == each.others), None)

    def add(self, key: str, measurement: Measurement) -> None:
        """Add the measurement of a question; it is in a file after at most `SAVED_EVERY` seconds and one question."""
        self._added.append((key, measurement))
        self._found.setdefault(key, []).append(measurement)  # another task of this job may have the same question
        if time.monotonic() - self._last >= SAVED_EVERY:
            self.save()

    def save(self, *, whole: bool = False) -> None:
        """Write what is not yet in a file.

        Args:
            whole: write everything that this job added into one file, in place of its earlier ones.

        Raises:
            WriteError: the store cannot be written into.
        """
        self._last = time.monotonic()
        if whole or len(self._files) >= MOST_FILES:
            if self._saved < len(self._added) or len(self._files) > 1:
                replaced, self._files = self._files, [self._write(self._added)]
                for path in replaced:
                    path.unlink(missing_ok=True)
        elif self._saved < len(self._added):
            self._files.append(self._write(self._added[self._saved :]))
        self._saved = len(self._added)

    def _write(self, added: Sequence[tuple[str, Measurement]]) -> Path:
        about, path = self.folder / "about.json", self.folder / f"{uuid.uuid4().hex}.parquet"
        if not about.is_file():
            with atomic_write(about) as temporary:
                temporary.write_text(json.dumps(self._about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        self._kept.write(self._kept.frame(pl.concat(self._row(key, each) for key, each in added)), path)
        return path

    def _row(self, key: str, measurement: Measurement) -> pl.DataFrame:
        """The row of one measurement in a file."""
        measured = self.table.frame([]) if measurement.rows is None else measurement.rows
        names = [name for name in self.table.columns if name not in ABOUT_QUESTION]
        left_out = [{"what": each.what, "reason": each.reason} for each in measurement.left_out]
        return pl.DataFrame(
            {
                "key": [key],
                "others": [list(measurement.others)],
                "failure": [list(measurement.failure or ())],
                "left_out": [left_out],
            },
            schema={name: column.dtype for name, column in self._kept.columns.items() if name != "rows"},
        ).with_columns(measured.select(rows=pl.struct(names).implode()).to_series())

    def _read(self, path: Path, keys: pl.Series) -> pl.DataFrame:
        """The rows of a file that have one of these keys; none if another process has just removed the file."""
        try:
            return self._kept.frame(pl.scan_parquet(path).filter(pl.col("key").is_in(keys.implode())).collect())
        except FileNotFoundError:
            return self._kept.frame([])
        except (TableError, pl.exceptions.PolarsError) as error:
            print(f"{path} cannot be read ({error}); its questions are measured again")
            return self._kept.frame([])


def _measurement(row: Mapping[str, Any], rows: pl.Series) -> Measurement:
    """The measurement of a file's row.

    Args:
        row: without the measured rows.
        rows: the measured rows, as structs.
    """
    kind_and_reason = row["failure"]
    return Measurement(
        None if kind_and_reason else rows.struct.unnest(),
        [Skipped("", each["what"], each["reason"]) for each in row["left_out"]],
        (kind_and_reason[0], kind_and_reason[1]) if kind_and_reason else None,
        tuple(row["others"]),
    )
