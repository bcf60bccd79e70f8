"""Distributions: the share of patches in each bin of norms."""

import altair as alt
import polars as pl

from ..panels import Axes, Frame
from ..style import name_of, strokes_of
from .lines import PANEL
from .theme import panel_facet, themed, title_params


def draw_distribution(rows: pl.DataFrame, axes: Axes, frame: Frame, threshold: float | None) -> alt.TopLevelMixin:
    """The figure; both axes are logarithmic, so that the few patches with a high norm are visible.

    Args:
        rows: panel, patches, norm (lower edge of a bin), mean, low, high.
        axes: titles of both axes.
        frame: title, subtitle and headings of the panels.
        threshold: norm at which a line is drawn; None for no line.
    """
    # A panel with boxes shows related and other patches separately; a panel without boxes can only show all patches.
    undivided = ~(pl.col("patches") != "all").any().over("panel")
    rows = rows.filter((pl.col("patches") != "all") | undivided)
    kinds = [kind for kind in ("related", "other", "all") if kind in rows["patches"].unique()]
    filled = rows.filter(pl.col("mean") > 0)["norm"]
    shown = rows.filter(pl.col("norm").is_between(filled.min(), filled.max()))
    names = {kind: name_of(kind) for kind in kinds}
    strokes = strokes_of(kinds)
    labels = list(names.values())
    legend = alt.Legend(
        title=None,
        orient="top",
        symbolType="stroke",
        symbolOpacity=1,
        symbolStrokeWidth=3,
        symbolSize=300,
        labelLimit=400,
    )
    color = alt.Color("line:N").scale(domain=labels, range=[s.color for s in strokes]).legend(legend)
    dash = alt.StrokeDash("line:N").scale(domain=labels, range=[list(s.dash) for s in strokes]).legend(legend)
    x = alt.X("norm:Q").scale(type="log", nice=False).title(axes.x_title).axis(grid=False, labelExpr="datum.value")
    y_scale = alt.Scale(type="symlog", constant=0.1)
    y_axis = alt.Axis(values=[0, 0.1, 1, 10, 100], labelExpr="datum.value")
    base = alt.Chart().encode(x=x)
    band = base.mark_area(opacity=0.18, interpolate="step-after").encode(
        y=alt.Y("low:Q").scale(y_scale).axis(y_axis).title(axes.y_title), y2="high:Q", color=color
    )
    line = base.mark_line(strokeWidth=1.6, interpolate="step-after").encode(
        y=alt.Y("mean:Q").scale(y_scale).axis(y_axis).title(axes.y_title), color=color, strokeDash=dash
    )
    rule = [] if threshold is None else [alt.Chart().mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(threshold))]
    facet = panel_facet(frame.panels)
    data = shown.select("panel", "norm", "mean", "low", "high", line=pl.col("patches").replace_strict(names))
    return themed(
        alt.layer(band, line, *rule)
        .properties(**PANEL)
        .facet(facet, columns=frame.columns, data=data)
        .properties(title=title_params(frame.title, frame.subtitle, frame.columns))
    )
