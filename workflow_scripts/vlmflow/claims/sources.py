"""The rows from which claims are judged: those of probes, answers, and answers of tables."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from vlmflow.analysis.line import Line, NotDefinedError, line_of, map_line
from vlmflow.probes import Probe
from vlmflow.tables import ANSWERS, TASK, Table, read_shards

from .declared import Where

KEPT = 12  # tasks of a probe whose rows are kept in memory
LEAST_IMAGES = 10  # with fewer, halves and intervals say little
GROUPS = ("structural", "semantic", "detailed")  # columns of an accuracy table
ANSWERS_ROLE = "answers"  # the name under which claims refer to the models' answers


class Source(ABC):
    """Rows of single questions, as lines are drawn from them.

    Attributes:
        by: the columns that make a combination.
        along: the x axis, one of `by`; None if there is none.
        position: the column with the position of each value of `along`.
        maps: whether a value is a map.
        mixed: columns of `by` whose values may differ within a line.
        default: the quantity of a line that names none.
    """

    by: tuple[str, ...]
    mixed: tuple[str, ...] = ()
    along: str | None = None
    position: str | None = None
    maps: bool = False
    default: str | None = None

    @abstractmethod
    def models(self) -> list[str]:
        """The models that it has rows of."""

    @abstractmethod
    def tasks(self) -> list[str]:
        """The tasks that it may have rows of."""

    @abstractmethod
    def read(self, model: str, task: str) -> pl.DataFrame:
        """The rows of a model and task: image_id, question_id, the columns of `by`, value."""

    def rows(
        self, model: str, task: str, where: Where, several_sub_words: bool = False, any_layer: bool = False
    ) -> pl.DataFrame:
        """The rows of one line.

        Args:
            model, task: of the rows.
            where: column → value.
            several_sub_words: whether only answers of more than one sub-word are kept.
            any_layer: whether rows may have any layer, for the mean over layers.

        Raises:
            NotDefinedError: there are none, or they are those of several lines.
        """
        rows = self.read(model, task)
        if self.default is not None:
            where = {"quantity": self.default, **where}
        for column, value in where.items() if len(rows) else ():
            if isinstance(value, str) != (rows.schema[column] == pl.String):
                kind = "text" if rows.schema[column] == pl.String else "numbers"
                raise NotDefinedError(f"{column} {value!r}: this column has {kind}")
            rows = rows.filter(pl.col(column) == value)
        if several_sub_words and len(rows):
            if "sub_words" not in rows.columns:
                raise NotDefinedError("its rows have no number of sub-words")
            rows = rows.filter(pl.col("sub_words") > 1)
        if len(rows) == 0:
            chosen = ", ".join(f"{column} {value}" for column, value in where.items())
            what = "an answer of several sub-words" if several_sub_words else chosen or "such a row"
            raise NotDefinedError(f"no question of {task} has {what}")
        for column in self.by:
            fixed = column in where or column in self.mixed or (any_layer and column == "layer")
            if not fixed and column != self.along:
                values = rows[column].unique(maintain_order=True).to_list()
                if len(values) > 1:
                    raise NotDefinedError(
                        f"the rows have several values of {column}: {', '.join(map(str, values))}; give one under where"
                    )
        self.check_images(rows, task)
        return rows

    @staticmethod
    def check_images(rows: pl.DataFrame, task: str) -> None:
        """Raise an error if the rows are of too few images."""
        if (images := rows["image_id"].n_unique()) < LEAST_IMAGES:
            raise NotDefinedError(f"{task} has only {images} image{'s' if images != 1 else ''} with it")

    def line(self, rows: pl.DataFrame, layers: int) -> Line:
        """The line of these rows, of a model with so many layers."""
        if self.maps:
            return map_line(rows, "value")
        return line_of(rows, self.along, self.position, self._depth(layers))

    def _depth(self, layers: int) -> Callable[[np.ndarray], np.ndarray]:
        if self.along not in ("layer", "layers_dropped"):
            return lambda x: np.full(len(x), np.nan)
        # A state after layer l has l + 1 layers before it; the embedding, −1, has none.
        return lambda x: (x + (1 if x[0] == -1 else 0)) / layers


class ProbeSource(Source):
    """The rows of a probe.

    Args:
        probe: as the study file has it.
        files: model → the files of all its shards.
        tasks: of the probe.
    """

    def __init__(self, probe: Probe, files: Mapping[str, Iterable[str | Path]], tasks: list[str]) -> None:
        averaging = probe.averaging
        self.probe, self.files, self._tasks = probe, {model: list(paths) for model, paths in files.items()}, tasks
        self.by, self.along, self.maps = averaging.by, averaging.along, averaging.map_columns is not None
        self.position, self.default = averaging.position or averaging.along, averaging.default
        self.kept: OrderedDict[tuple[str, str], pl.DataFrame] = OrderedDict()

    def models(self) -> list[str]:
        """See `Source.models`."""
        return list(self.files)

    def tasks(self) -> list[str]:
        """See `Source.tasks`."""
        return self._tasks

    def read(self, model: str, task: str) -> pl.DataFrame:
        """See `Source.read`; the rows of the last tasks are kept, since several claims read them."""
        if (model, task) not in self.kept:
            rows = _of_task(self.probe.table, self.files[model], task)
            self.kept[model, task] = self.probe.averaging.values(rows) if len(rows) else rows
        self.kept.move_to_end((model, task))
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return self.kept[model, task]


class AnswerSource(Source):
    """Whether each answer is correct, in percent: of the study's questions, or of those of an accuracy table.

    Args:
        files: model → the files of all its shards.
        tasks: that were asked.
        questions: the file of the questions with their types, for an accuracy table.
    """

    def __init__(
        self, files: Mapping[str, Iterable[str | Path]], tasks: list[str], questions: str | Path | None = None
    ) -> None:
        self.files, self._tasks = {model: list(paths) for model, paths in files.items()}, tasks
        self.questions = questions
        self.by = self.mixed = () if questions is None else GROUPS

    def models(self) -> list[str]:
        """See `Source.models`."""
        return list(self.files)

    def tasks(self) -> list[str]:
        """See `Source.tasks`."""
        return self._tasks

    def read(self, model: str, task: str) -> pl.DataFrame:
        """See `Source.read`."""
        rows = _of_task(ANSWERS, self.files[model], task).drop_nulls("correct")
        rows = rows.with_columns(value=100 * pl.col("correct").cast(pl.Float64))
        if self.questions is None:
            return rows
        types = TASK.read(self.questions).select("question_id", *self.by)
        return rows.join(types, on="question_id", how="left", maintain_order="left")


def _of_task(table: Table, paths: Iterable[str | Path], task: str) -> pl.DataFrame:
    return read_shards(table, paths).filter(pl.col("task") == task)
