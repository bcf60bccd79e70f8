"""The table under a figure: the largest effect of each line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from .numbers import ends, signed, unsigned
from .panels import Axes, panel_name

EXTREMES = (
    "The interval is that of the extreme: it is found on one half of the images and measured on the other, anew in "
    "each resample."
)


CHOSEN = "The interval is that of the mean at this position, which was chosen since its mean is the largest effect."


@dataclass(frozen=True)
class Reading:
    """How the table under a figure shows the chart's means.

    Attributes:
        effect: the text under the table that names what it shows per line.
        lowest: whether the lowest mean is the largest effect; else the highest mean is.
        position: the text before a number of the x axis.
        digits: after the decimal point.
        unit: the text after a mean, with a space before it.
        signs: whether positive numbers have a plus.
        by_panel: whether the table has a row per panel; else a row per task, with the largest effect of its panels.
    """

    effect: str
    lowest: bool = False
    position: str = "layer"
    digits: int = 2
    unit: str = ""
    signs: bool = False
    by_panel: bool = False

    def written(self, mean: float) -> str:
        """A mean, or an end of its interval, as text without the unit."""
        return signed(mean, self.digits) if self.signs else unsigned(mean, self.digits)


@dataclass(frozen=True)
class EffectTable:
    """The largest effect of each line, in each task of each model.

    Attributes:
        lines: headings of the columns; none for a figure of single examples.
        rows: model, task, cells; a cell is None, or it has value, interval and where, or it has a note.
        explanation: the sentence under the table.
    """

    lines: list[str]
    rows: list[dict[str, Any]]
    explanation: str


def largest_effects(
    shown: pl.DataFrame,
    summary: pl.DataFrame,
    axes: Axes,
    reading: Reading,
    names: dict[str, str],
    position: Callable[[dict[str, Any]], str],
) -> EffectTable:
    """The table of effects: the size, interval and position of each, or the reason why a line does not apply.

    Args:
        shown: the rows with a mean that the figure shows, all models.
        summary: all rows, also those without a mean.
        axes: of the chart.
        reading: how means are shown.
        names: line → heading of its column.
        position: the position of a row on the x axis, as text.
    """
    if reading.by_panel:
        shown, summary = _by_panel(axes, shown, summary)
    extreme = pl.col("mean").arg_min() if reading.lowest else pl.col("mean").arg_max()
    keys = ["model", "task", axes.line]
    # A chart may have a line per task or per model, so that a key stands twice in `keys`.
    peaks = shown.group_by(list(dict.fromkeys(keys)), maintain_order=True).agg(pl.all().get(extreme))
    cells = {tuple(row[key] for key in keys): _cell(row, reading, position(row)) for row in peaks.to_dicts()}
    if "note" in summary.columns:
        absent = summary.filter(pl.col("mean").is_null())
        notes = {tuple(row[key] for key in keys): {"note": row["note"]} for row in absent.to_dicts()}
        cells = notes | cells
    # If nothing could be measured, the row has an empty line, and its note is the reason for every line.
    rows = [
        {
            "model": model,
            "task": task,
            "cells": [cells.get((model, task, line), cells.get((model, task, ""))) for line in names],
        }
        for model, task in summary.select("model", "task").unique(maintain_order=True).iter_rows()
    ]
    found_anew = "extreme_low" in shown.columns and len(shown.drop_nulls("extreme_low")) > 0
    explanation = f"{reading.effect}, with its 95 % interval and its position. {EXTREMES if found_anew else CHOSEN}"
    return EffectTable(list(names.values()), rows, explanation)


def _by_panel(axes: Axes, shown: pl.DataFrame, summary: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(the shown rows, these and the rows without a mean), both with the panel's name in place of the task.

    A row without a mean is repeated for every panel of its task.
    """
    keys = ["task", *(name for name in axes.panels if name != "task" and shown[name].n_unique() > 1)]
    names = [", ".join(map(panel_name, keys, row)) for row in shown.select(keys).iter_rows()]
    named = shown.with_columns(panel=pl.Series(names, dtype=pl.String))
    model_task = ["model", "task"]
    panels = named.select(*model_task, "panel").unique(maintain_order=True)
    absent = summary.filter(pl.col("mean").is_null()).join(panels, on=model_task, how="left", maintain_order="left")
    order = summary.select(model_task).unique(maintain_order=True).with_row_index("rank")
    everything = (
        pl.concat([named, absent])
        .join(order, on=model_task, how="left", maintain_order="left")
        .sort("rank", maintain_order=True)
    )
    named, everything = (
        rows.with_columns(task=pl.coalesce("panel", "task")).select(summary.columns) for rows in (named, everything)
    )
    return named, everything


def _cell(row: dict[str, Any], reading: Reading, where: str) -> dict[str, str]:
    value, low, high = (reading.written(value) for value in (row["mean"], *ends(row)))
    return {"value": value + reading.unit, "interval": f"[{low}, {high}]", "where": where}
