"""What a table is: columns with types and units, checked when it is written, and written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl


class TableError(ValueError):
    """A table that is not what its schema says; the message names table and column."""


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
    """A temporary name beside `path` that takes its place once the block has ended well: `with whole(path) as name`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
