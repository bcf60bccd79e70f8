"""Shards: the parts into which the questions of a step are divided, so that several jobs can share it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from .base import Table


@dataclass(frozen=True)
class Shard:
    """One of several parts; a question's part depends on its id alone.

    Attributes:
        number: from 1.
        count: of all parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, name: str) -> Self:
        """The shard of a name, such as 2-of-4."""
        number, count = map(int, name.split("-of-"))
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def questions(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of this shard's questions, in their order."""
        numbers = [_number(each) % self.count + 1 for each in rows["question_id"]]
        return rows.filter(pl.Series(numbers, dtype=pl.Int64) == self.number)


def shard_names(count: int) -> list[str]:
    """The names of all shards."""
    return [str(Shard(number, count)) for number in range(1, count + 1)]


def read_shards(table: Table, paths: Iterable[str | Path]) -> pl.DataFrame:
    """The rows of all shards of a table with the columns `task` and `question_id`.

    They are sorted by these two, so that the number of shards has no influence on what is computed from the rows.

    Raises:
        TableError: a file is not a table of this kind.
    """
    frames = [table.read(path) for path in paths]
    return pl.concat([table.frame([]), *frames]).sort("task", "question_id", maintain_order=True)


def read_models(table: Table, paths: Iterable[str | Path], models: Iterable[str]) -> dict[str, pl.DataFrame]:
    """Model → the rows of all shards of its table.

    Args:
        table: of every file.
        paths: of the files.
        models: the model of each file.

    Raises:
        TableError: a file is not a table of this kind.
    """
    by_model: dict[str, list[str | Path]] = {}
    for path, model in zip(paths, models, strict=True):
        by_model.setdefault(model, []).append(path)
    return {model: read_shards(table, files) for model, files in by_model.items()}


def _number(question_id: str) -> int:
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8])
