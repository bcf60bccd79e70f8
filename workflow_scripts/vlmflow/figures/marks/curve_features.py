"""Phases and knees on panels of lines."""

from dataclasses import replace

import polars as pl

from .lines import LineChartData

# Phases after the tenth are numbered with digits.
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


def with_phase_bands(data: LineChartData, phases: pl.DataFrame) -> LineChartData:
    """The lines with a numbered band for each phase that the curves support.

    Args:
        data: the lines of one model.
        phases: rows of the table `phases` of that model.
    """
    placed = _in_panels(data, phases.filter(pl.col("phases") == pl.col("phase_count")))
    if len(placed) == 0:
        return data
    bands = placed.select(
        "panel",
        start=pl.col("first_layer") - 0.5,
        end=pl.col("last_layer") + 0.5,
        middle=(pl.col("first_layer") + pl.col("last_layer")) / 2,
        low=pl.col("low") - 0.5,
        high=pl.col("high") - 0.5,
        label=pl.col("phase").map_elements(_numeral, return_dtype=pl.String),
        shaded=pl.col("phase") % 2 == 0,
        begins=pl.col("phase") > 1,
    )
    return replace(data, bands=bands)


def _numeral(phase: int) -> str:
    return NUMERALS[phase - 1] if phase <= len(NUMERALS) else str(phase)


def with_knee_marks(data: LineChartData, knees: pl.DataFrame) -> LineChartData:
    """The lines with a mark at each knee.

    Args:
        data: the lines of one model.
        knees: rows of the table `knees` of that model.
    """
    placed = _in_panels(data, knees.drop_nulls("knee"))
    if len(placed) == 0:
        return data
    marks = placed.select("panel", line=pl.col(data.axes.line), x="knee", mean="loss_at_knee", low="low", high="high")
    return replace(data, marks=marks)


def _in_panels(data: LineChartData, features: pl.DataFrame) -> pl.DataFrame:
    """The rows whose panel is shown, with the panel's heading."""
    keys = [key for key in dict.fromkeys((*data.axes.panels, data.axes.line)) if key in features.columns]
    panels = data.rows.select("panel", *keys).unique(maintain_order=True)
    return features.join(panels, on=keys, how="inner", maintain_order="left")
