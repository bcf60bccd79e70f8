"""Means as points with their 95 % intervals, one below the other."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from ..panels import Axes, Frame
from .theme import panel_facet, themed, title_params

ROW, PANEL = 22, 210  # pixels


def draw_points(rows: pl.DataFrame, axes: Axes, frame: Frame, names: Sequence[str]) -> alt.TopLevelMixin:
    """The figure.

    Args:
        rows: panel, the column of the names, mean, low, high, questions, images.
        axes: the column of the names, and the title of the x axis.
        frame: title, subtitle and headings of the panels.
        names: from the top to the bottom.
    """
    y = alt.Y("line:N", sort=list(names)).title(None).axis(labelLimit=320, grid=True, gridColor="#eeeeee", ticks=False)
    base = alt.Chart().encode(y=y)
    bars = base.mark_rule(strokeWidth=2, color="#0063a6").encode(
        x=alt.X("low:Q").title(axes.x_title).scale(zero=True), x2="high:Q"
    )
    tooltip = [
        alt.Tooltip("line:N", title="set"),
        alt.Tooltip("mean:Q", title=axes.x_title, format=".3~f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3~f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3~f"),
        alt.Tooltip("questions:Q", title="questions"),
        alt.Tooltip("images:Q", title="images"),
    ]
    points = base.mark_point(filled=True, size=60, opacity=1, color="#0063a6").encode(x="mean:Q", tooltip=tooltip)
    zero = alt.Chart().mark_rule(color="#555555", strokeWidth=0.7).encode(x=alt.datum(0))
    panel = alt.layer(zero, bars, points).properties(width=PANEL, height=ROW * len(names))
    facet = panel_facet(frame.panels, width=PANEL + 100)
    data = rows.select("panel", "mean", "low", "high", "questions", "images", line=pl.col(axes.line))
    figure = panel.facet(facet, columns=min(2, frame.columns), data=data)
    if len(frame.panels) % 2 and len(frame.panels) > 1:
        figure = figure.resolve_axis(x="independent")
    return themed(figure.properties(title=title_params(frame.title, frame.subtitle, frame.columns)))
