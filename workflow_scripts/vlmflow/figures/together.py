"""Figures of all models together: the lines of a chart on relative depth, a line per model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from vlmflow.probes import Probe

from .base import Chart, LineChart
from .panels import Axes, Frame, Layout, subtitle, with_panels

if TYPE_CHECKING:
    import altair as alt

DEPTH = "Depth (share of the layers)"
MOST_PANELS = 36  # of a figure on paper; its interactive form has all


def compares_models(figure: Chart, probe: Probe) -> bool:
    """Whether a chart can show all models together: it has lines over layers."""
    return isinstance(figure, LineChart) and figure.axes(probe).x == "layer"


def rows_together(figure: LineChart, probe: Probe, summary: pl.DataFrame, layers: Mapping[str, int]) -> pl.DataFrame:
    """The rows that the figure shows, of all models, with the column `depth`: the share of the layers that come before.

    Args:
        figure, probe: as the study file has them.
        summary: the probe's summary.
        layers: model → number of its layers.
    """
    rows = pl.concat([figure.rows(summary, probe, model) for model in layers] or [summary.clear()])
    # A state after layer l has l + 1 layers before it; the embedding, −1, has none.
    before = pl.col("layer") + (pl.col("layer").min() == -1).cast(pl.Int32)
    count = pl.col("model").replace_strict(layers, return_dtype=pl.Int32)
    return rows.with_columns(depth=before / count)


def draw_together(
    figure: LineChart,
    probe: Probe,
    summary: pl.DataFrame,
    layers: Mapping[str, int],
    tasks: list[str],
    layout: Layout,
) -> "alt.TopLevelMixin":
    """The figure of all models: a panel per task and line, a line per model.

    Args:
        figure, probe: as the study file has them; see `compares_models`.
        summary: the probe's summary, all models and tasks.
        layers: model → number of its layers, in the order of the legend.
        tasks: in the order of the panels.
        layout: the medium for which it is drawn.
    """
    from .marks.lines import LineChartData, draw_lines
    from .marks.theme import draw_message
    from .style import model_strokes

    own = figure.axes(probe)
    rows = rows_together(figure, probe, summary, layers)
    shown = ", ".join(layers)
    if len(rows) == 0:
        return draw_message(figure.title, [shown], "there was no question to analyse.")
    axes = Axes("model", "depth", DEPTH, own.y_title, (*own.panels, own.line), zero=own.zero, step=0.1)
    rows, headings = with_panels(rows, axes.panels, tasks)
    texts = subtitle(rows, "all models", layout.columns)
    if len(headings) > MOST_PANELS and not layout.interactive:
        texts = [*texts, f"{MOST_PANELS} of {len(headings)} panels; the interactive form has all"]
        headings = headings[:MOST_PANELS]
        rows = rows.filter(pl.col("panel").is_in(headings))
    strokes = dict(zip(layers, model_strokes(len(layers)), strict=True))
    frame = Frame(figure.title, texts, headings, layout.columns, layout.interactive)
    present = [model for model in layers if model in rows["model"]]
    return draw_lines(LineChartData(rows, axes, {model: model for model in present}, strokes=strokes), frame)
