"""Means with intervals from rows per question; each probe declares how its rows are averaged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from vlmflow.tables import PART_OF, Column, Table, full_reason
from vlmflow.tables.columns import CELL, EXTREME, HALVES, INTERVAL, MODEL_TASK, NOTE, QUANTITY


@dataclass(frozen=True)
class Averaging:
    """How the rows of a probe are averaged over questions.

    Attributes:
        by: columns that make a combination; `quantity` is one of them if there are several quantities.  The last one is
            the x axis of the probe's lines.
        quantities: the columns that are averaged.
        prepare: a function that is applied to the rows first; it may create the columns `quantity` and `value`.
        columns: columns of `by` that the probe's own table does not have.
        across: columns of `by` whose lines are searched together for an extreme; see `summarise`.
        position: the column with the position of a value of the x axis, if that value is only its name.
        map_columns: if the quantities are maps (lists, row by row), the column that has their number of columns.
        further: name → column and expression over the rows of a combination, in addition to the mean.
        line: the column of `by` whose values (edges, for instance) may be skipped for every question; such a value gets
            a row with the reason and without a mean.
        halves: whether the means over each half of the images are given too, by which ranks are compared.
        derived: a function of the values and their means that returns further rows, of a quantity that is computed from
            several combinations.
        shares: quantities that are 0 or 100 for each question; see `with_rare_cases`.
        default: the quantity that figures and claims show if they name none.
        line_of: `Skipped.what` → value of `line`, if the two differ; skipped parts that are not in it have no line.
    """

    by: tuple[str, ...]
    quantities: tuple[str, ...]
    prepare: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    position: str | None = None
    map_columns: str | None = None
    further: Mapping[str, tuple[Column, pl.Expr]] = field(default_factory=dict)
    line: str | None = None
    line_of: Mapping[str, str] | None = None
    default: str | None = None
    halves: bool = False
    across: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    derived: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame] | None = None

    @property
    def along(self) -> str | None:
        """The x axis of the lines; None for maps."""
        return None if self.map_columns else self.by[-1]

    def table(self, rows: Table) -> Table:
        """The table of the means of these rows, over all models and tasks."""
        known = QUANTITY | rows.columns | dict(self.columns)
        return Table(
            f"summary of {rows.name}",
            MODEL_TASK
            | {name: known[name] for name in self.by}
            | (CELL if self.map_columns else {})
            | INTERVAL
            | EXTREME
            | {name: column for name, (column, _) in self.further.items()}
            | (HALVES if self.halves else {})
            | NOTE,
        )

    def values(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the column `value`, of which means are taken: a row per question and combination."""
        prepared = self.prepare(rows) if self.prepare else rows
        if "quantity" not in self.by:
            return prepared.with_columns(value=pl.col(self.quantities[0]))
        return prepared if "quantity" in prepared.columns else unpivot_quantities(prepared, self.quantities)

    def average(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Means with intervals: a row per combination, and per cell if the quantities are maps."""
        from .bootstrap import summarise, summarise_cells, with_rare_cases

        by, values = list(self.by), self.values(rows)
        if self.map_columns:
            sizes = values.partition_by(self.map_columns, maintain_order=True)
            return pl.concat(summarise_cells(maps, by, "value", maps[self.map_columns][0]) for maps in sizes)
        means = summarise(values, by, "value", along=self.along, across=self.across)
        if self.shares:
            means = with_rare_cases(means, 100, pl.col("quantity").is_in(self.shares))
        if self.further:
            further = values.group_by(by).agg(**{name: value for name, (_, value) in self.further.items()})
            means = means.join(further, on=by, how="left", maintain_order="left")
        if self.halves:
            means = means.join(_of_halves(values, by), on=by, how="left", maintain_order="left")
        return means if self.derived is None else pl.concat([means, self.derived(values, means)])


def _of_halves(values: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The mean of each combination over the first half of the images, and over the second one."""
    from .bootstrap import halves

    images = values["image_id"].unique()
    first = pl.DataFrame({"image_id": images, "first": halves(images.to_list())[0]})
    value, in_first = pl.col("value"), pl.col("first")
    means = {"first_half": value.filter(in_first).mean(), "second_half": value.filter(~in_first).mean()}
    return values.join(first, on="image_id", how="left").group_by(by).agg(**means)


def unpivot_quantities(rows: pl.DataFrame, quantities: tuple[str, ...]) -> pl.DataFrame:
    """A row per value of each of these columns, with the new columns `quantity` and `value`; nulls are left out, and
    other columns of lists are dropped."""
    kept = [name for name in rows.columns if name not in quantities and rows[name].dtype != pl.List]
    long = rows.select(*kept, *quantities).unpivot(on=quantities, index=kept, variable_name="quantity")
    return long.drop_nulls("value")


def summarise_model_task(
    averaging: Averaging, table: Table, rows: pl.DataFrame, skipped: pl.DataFrame, model: str, task: str
) -> pl.DataFrame:
    """The summary of a probe's measurements on one model and task.

    Args:
        averaging: how the probe's rows are averaged.
        table: the table of the probe's rows.
        rows: the measured rows.
        skipped: the questions and parts that were skipped; see `Averaging.line`.
        model, task: names in the study file.

    Returns:
        rows of `averaging.table(table)`.  If nothing at all was measured, one row has the most frequent reason.
    """
    summary = averaging.table(table)
    model_task = {"model": pl.lit(model), "task": pl.lit(task)}
    measured = summary.frame([])
    if len(rows):
        means = averaging.average(rows).with_columns(**model_task, note=pl.lit(None, dtype=pl.String))
        measured = summary.frame(means)
    notes = _absent_lines(averaging, measured, skipped)
    if not len(measured) and not len(notes) and len(skipped):
        notes = skipped.select(note=full_reason().mode(maintain_order=True).first())
    return pl.concat([measured, summary.frame(_rows_of_notes(summary, notes).with_columns(**model_task))])


def _absent_lines(averaging: Averaging, measured: pl.DataFrame, skipped: pl.DataFrame) -> pl.DataFrame:
    """(line, note) of each line that was skipped for every question; the note is the most frequent reason."""
    if averaging.line is None:
        return pl.DataFrame(schema={"note": pl.String})
    parts = skipped.filter(pl.col("what") != "", ~pl.col("what").str.starts_with(PART_OF))
    if averaging.line_of is not None:
        parts = parts.filter(pl.col("what").is_in(list(averaging.line_of))).with_columns(
            pl.col("what").replace(dict(averaging.line_of))
        )
    return (
        parts.filter(~pl.col("what").is_in(measured[averaging.line].unique().implode()))
        .group_by("what", maintain_order=True)
        .agg(note=pl.col("reason").mode(maintain_order=True).first())
        .rename({"what": averaging.line})
    )


def _rows_of_notes(table: Table, notes: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a note and no mean."""
    empty = {
        name: pl.lit(None if column.nullable else "" if column.dtype == pl.String else 0, dtype=column.dtype)
        for name, column in table.columns.items()
        if name not in notes.columns
    }
    return notes.with_columns(**empty)
