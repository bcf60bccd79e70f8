"""Distributions of norms: the share of patches in each bin."""

import altair as alt
import polars as pl

from ..style import dressed, name_of, strokes_of, title_of
from .lines import PANEL


def draw_distribution(
    rows: pl.DataFrame, order: list[str], columns: int, title: str, subtitle: list[str], threshold: float | None
) -> alt.TopLevelMixin:
    """The figure; both axes are logarithmic, since the few patches with a high norm are what one looks for.

    Args:
        rows: panel, patches, norm (lower edge of a bin), mean, low, high.
        order: of the panels.
        columns: panels side by side.
        title, subtitle: of the figure.
        threshold: where a line is drawn.
    """
    # Two parts and their sum would be one line too many; a panel without boxes has the sum alone.
    whole = ~(pl.col("patches") != "all").any().over("panel")
    rows = rows.filter((pl.col("patches") != "all") | whole)
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
    x = (
        alt.X("norm:Q")
        .scale(type="log", nice=False)
        .title("Norm of the patch's feature")
        .axis(grid=False, labelExpr="datum.value")
    )
    y_scale = alt.Scale(type="symlog", constant=0.1)
    y_axis = alt.Axis(values=[0, 0.1, 1, 10, 100], labelExpr="datum.value")
    base = alt.Chart().encode(x=x)
    band = base.mark_area(opacity=0.18, interpolate="step-after").encode(
        y=alt.Y("low:Q").scale(y_scale).axis(y_axis).title("Patches in a bin, %"), y2="high:Q", color=color
    )
    line = base.mark_line(strokeWidth=1.6, interpolate="step-after").encode(
        y=alt.Y("mean:Q").scale(y_scale).axis(y_axis).title("Patches in a bin, %"), color=color, strokeDash=dash
    )
    rule = [] if threshold is None else [alt.Chart().mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(threshold))]
    facet = alt.Facet("panel:N", sort=order).title(None).header(labelFontWeight="bold", labelFontSize=12)
    data = shown.select("panel", "norm", "mean", "low", "high", line=pl.col("patches").replace_strict(names))
    return dressed(
        alt.layer(band, line, *rule)
        .properties(**PANEL)
        .facet(facet, columns=columns, data=data)
        .properties(title=title_of(title, subtitle))
    )
