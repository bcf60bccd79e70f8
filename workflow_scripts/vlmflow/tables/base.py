"""Tables: columns with types and units, checked when a table is written."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vlmflow.errors import TableError

from .writing import atomic_write


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
        with atomic_write(path) as temporary:
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
