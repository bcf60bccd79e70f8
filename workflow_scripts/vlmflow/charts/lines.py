"""Panels of lines: the mean with its 95 % interval over layers."""

from dataclasses import dataclass

import altair as alt
import polars as pl

from .style import dressed, name_of, strokes_of, title_of

PANEL = {"width": 190, "height": 140}


@dataclass(frozen=True)
class Lines:
    """What a figure of lines shows.

    Attributes:
        rows: panel, line (as in the summary), x, mean, low, high, questions, pictures.
        lines: in the order of the legend.
        panels: in their order.
        x_title, y_title: of the axes, with units.
        zero: whether a rule marks 0.
    """

    rows: pl.DataFrame
    lines: list[str]
    panels: list[str]
    x_title: str
    y_title: str
    zero: bool = True


def draw_lines(shown: Lines, columns: int, title: str, subtitle: list[str]) -> alt.TopLevelMixin:
    """The figure, `columns` panels side by side; lines can be picked in its legend."""
    names = {line: name_of(line) for line in shown.lines}
    labels, strokes = list(names.values()), strokes_of(shown.lines)
    pick = alt.selection_point(fields=["line"], bind="legend", name="pick")
    longest = max(map(len, labels), default=0)
    legend = alt.Legend(
        title=None,
        orient="top",
        symbolOpacity=1,
        symbolDash=[1, 0],
        symbolStrokeWidth=0,
        symbolSize=110,
        labelLimit=400,
        columns=min(columns, 2) if longest > 32 else columns,
        columnPadding=24,
    )
    x = alt.X("x:Q").title(shown.x_title).axis(tickMinStep=1, grid=False)
    color = alt.Color("line:N").scale(domain=labels, range=[s.color for s in strokes]).legend(legend)
    dash = alt.StrokeDash("line:N").scale(domain=labels, range=[list(s.dash) for s in strokes]).legend(legend)
    shape = alt.Shape("line:N").scale(domain=labels, range=[s.shape for s in strokes]).legend(None)
    strength = alt.when(pick).then(alt.value(1.0)).otherwise(alt.value(0.12))
    fog = alt.when(pick).then(alt.value(0.18)).otherwise(alt.value(0.03))
    base = alt.Chart().encode(x=x)
    band = base.mark_area().encode(y=alt.Y("low:Q").title(shown.y_title), y2="high:Q", color=color, opacity=fog)
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("mean:Q").title(shown.y_title), color=color, strokeDash=dash, opacity=strength
    )
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("x:Q", title=shown.x_title.split(" (")[0].lower()),
        alt.Tooltip("mean:Q", title="mean", format=".3~f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3~f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3~f"),
        alt.Tooltip("questions:Q", title="questions"),
        alt.Tooltip("pictures:Q", title="pictures"),
    ]
    points = (
        base.mark_point(size=26, filled=True)
        .encode(y="mean:Q", color=color, shape=shape, opacity=strength, tooltip=tooltip)
        .add_params(pick)
    )
    zero = [alt.Chart().mark_rule(color="#555555", strokeWidth=0.7).encode(y=alt.datum(0))] if shown.zero else []
    facet = alt.Facet("panel:N", sort=shown.panels).title(None).header(labelFontWeight="bold", labelFontSize=12)
    data = shown.rows.select("panel", "line", "x", "mean", "low", "high", "questions", "pictures")
    figure = alt.layer(*zero, band, line, points).properties(**PANEL)
    figure = figure.facet(facet, columns=columns, data=data.with_columns(pl.col("line").replace_strict(names)))
    if len(shown.panels) % columns and len(shown.panels) > columns:
        # Else an axis would stand under the place of the panel that is not there.
        figure = figure.resolve_axis(x="independent")
    return dressed(figure.properties(title=title_of(title, subtitle)))
