"""Heat maps: a row per edge or head, a column per layer; a mark where the mean differs from 0."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from vlmflow.analysis.discovery import with_discovered

from ..measures import Shown
from ..panels import Axes, Frame
from ..style import ARROW_FONT
from .theme import panel_facet, themed, title_params

ROW, PANEL = 12, 200  # pixels


def draw_heatmap(
    rows: pl.DataFrame, axes: Axes, frame: Frame, shown: Shown, window: int, names: Mapping[Any, str]
) -> alt.TopLevelMixin:
    """The figure; if the rows hold several windows, the reader chooses one.

    Args:
        rows: panel, the column of the lines, window, layer, mean, low, high, questions, images.
        axes: the column of the lines, and titles of the layers and of the means.
        frame: title, subtitle and headings of the panels.
        names: value of the column of the lines → its name, from the top to the bottom.
        shown: the measure, with its colours.
        window: number of layers of the window that is shown first.
    """
    panel = _panel(rows["layer"].unique().sort().to_list(), axes, shown, list(names.values()))
    facet = panel_facet(frame.panels, width=PANEL)
    data = _marked(rows, axes.line).with_columns(pl.col("line").replace_strict(dict(names), return_dtype=pl.String))
    windows = sorted(data["window"].unique().to_list())
    if len(windows) > 1:
        chosen = alt.param(
            name="window", value=window, bind=alt.binding_select(options=windows, name="Window, layers: ")
        )
        panel = panel.transform_filter("datum.window == window")
        figure = panel.facet(facet, columns=frame.columns, data=data).add_params(chosen)
    else:
        figure = panel.facet(facet, columns=frame.columns, data=data)
    figure = themed(figure.properties(title=title_params(frame.title, frame.subtitle, frame.columns)))
    # Cells that do not apply stay grey.
    return figure.configure_view(stroke="#cccccc", fill="#e6e6e6")


def _panel(layers: list[int], axes: Axes, shown: Shown, names: list[str]) -> Any:
    """The cells of one panel, with their marks; `names` are those of the lines, from the top to the bottom."""
    # Edges name themselves, heads are numbers.
    y = alt.Y("line:N", sort=names).title(None if axes.line == "edge" else axes.line.capitalize())
    y = y.axis(labelLimit=320, labelFontSize=10, labelFont=ARROW_FONT, grid=False, ticks=False)
    step = max(1, -(-len(layers) // 10))
    x = alt.X("layer:O").title(axes.x_title).axis(values=layers[::step], labelAngle=0)
    base = alt.Chart().encode(x=x, y=y)
    scale = alt.Scale(domain=list(shown.stops), range=list(shown.colors), clamp=True, interpolate="rgb")
    legend = alt.Legend(title=axes.y_title, orient="top", gradientLength=220, titleLimit=300)
    cells = base.mark_rect().encode(
        color=alt.Color("mean:Q").scale(scale).legend(legend),
        tooltip=[
            alt.Tooltip("line:N", title=axes.line),
            alt.Tooltip("layer:O", title="layer"),
            alt.Tooltip("window:O", title="window"),
            alt.Tooltip("mean:Q", title=axes.y_title),
            alt.Tooltip("low:Q", title="95 % from"),
            alt.Tooltip("high:Q", title="95 % to"),
            alt.Tooltip("questions:Q", title="questions"),
        ],
    )
    # The colour of the largest effects is dark.
    dark_end = alt.datum.mean < shown.stops[0] / 3 if shown.lowest else alt.datum.mean > shown.stops[-1] / 3
    dark = alt.when(dark_end).then(alt.value("#ffffff")).otherwise(alt.value("#000000"))
    marks = base.transform_filter("datum.mark != ''").mark_text(fontSize=9).encode(text="mark:N", color=dark)
    return alt.layer(cells, marks).properties(width=max(PANEL, 5 * len(layers)), height=ROW * len(names))


def _marked(rows: pl.DataFrame, line: str) -> pl.DataFrame:
    """The rows, rounded, with a mark where the mean differs from 0, corrected over the cells of a window."""
    lost = pl.when(pl.col("mean") < 0).then(pl.lit("•")).otherwise(pl.lit("+"))
    mark = pl.when("discovered").then(lost).otherwise(pl.lit(""))
    columns = ("panel", "window", "layer", "mean", "low", "high", "questions")
    marked = with_discovered(rows, ["window"]).select(*columns, line=line, mark=mark)
    return marked.with_columns(pl.col("mean", "low", "high").round(2))
