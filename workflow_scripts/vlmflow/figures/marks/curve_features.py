"""Phases and knees on figures of lines."""

from dataclasses import replace

import polars as pl

from ..panels import Axes
from .lines import Lines

# Whoever has more phases gets digits.
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


def bands_of(shown: Lines, phases: pl.DataFrame, axes: Axes) -> Lines:
    """The lines with a band for each phase that the curves support, numbered."""
    placed = _in_panels(shown, phases.filter(pl.col("of") == pl.col("supported")), axes)
    if len(placed) == 0:
        return shown
    bands = placed.select(
        "panel",
        start=pl.col("first") - 0.5,
        end=pl.col("last") + 0.5,
        middle=(pl.col("first") + pl.col("last")) / 2,
        low=pl.col("low") - 0.5,
        high=pl.col("high") - 0.5,
        label=pl.col("phase").map_elements(_numeral, return_dtype=pl.String),
        shaded=pl.col("phase") % 2 == 0,
        begins=pl.col("phase") > 1,
    )
    return replace(shown, bands=bands)


def _numeral(phase: int) -> str:
    return NUMERALS[phase - 1] if phase <= len(NUMERALS) else str(phase)


def marks_of(shown: Lines, knees: pl.DataFrame, axes: Axes) -> Lines:
    """The lines with a mark at each knee."""
    placed = _in_panels(shown, knees.drop_nulls("knee"), axes)
    if len(placed) == 0:
        return shown
    marks = placed.select("panel", line=pl.col(axes.line), x="knee", mean="at_knee", low="low", high="high")
    return replace(shown, marks=marks)


def _in_panels(shown: Lines, landmarks: pl.DataFrame, axes: Axes) -> pl.DataFrame:
    """The landmarks whose panel is shown, with its name."""
    keys = [key for key in dict.fromkeys((*axes.panels, axes.line)) if key in landmarks.columns]
    panels = shown.rows.select("panel", *keys).unique(maintain_order=True)
    return landmarks.join(panels, on=keys, how="inner", maintain_order="left")
