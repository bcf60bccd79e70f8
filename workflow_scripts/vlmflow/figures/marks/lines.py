"""Panels of lines: means with their 95 % intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from ..panels import Axes, Frame
from ..style import Stroke, strokes_of
from .theme import panel_facet, themed, title_params

PANEL = {"width": 190, "height": 140}


@dataclass(frozen=True)
class LineChartData:
    """The data of a figure of lines.

    Attributes:
        rows: of a summary, with the column `panel`.
        axes: columns and titles; an axis of doublings shows 1 + x on a logarithmic scale, so that it can hold 0.
        names: line → its name in the legend, in the legend's order.
        bands: panel, start, end, low, high, label: spans of x behind the lines, each with the interval of its start.
        marks: panel, line, x, mean, low, high: points on lines, each with the interval of its x.
        strokes: line → its stroke; by default that which it has in every figure.
    """

    rows: pl.DataFrame
    axes: Axes
    names: dict[str, str]
    bands: pl.DataFrame | None = None
    marks: pl.DataFrame | None = None
    strokes: Mapping[str, Stroke] | None = None

    @property
    def ticks(self) -> list[float]:
        """The numbers on an x axis of doublings."""
        most = float(self.rows[self.axes.x].max())  # type: ignore[arg-type]
        return [0.0, *(2.0**power for power in range(0, 32, 2) if 2**power <= 0.75 * most), most]

    def table(self) -> pl.DataFrame:
        """The rows of all layers of the chart; with bands or marks, the column `part` names the layer of each row."""
        columns = ("panel", pl.col(self.axes.line).alias("line"), pl.col(self.axes.x).alias("x"))
        data = self.rows.select(*columns, "mean", "low", "high", "questions", "images")
        data = data.with_columns(pl.col("line").replace_strict(self.names))
        if self.bands is not None:
            data = _joined(data, self.bands, "band")
        if self.marks is not None:
            data = _joined(data, self.marks.with_columns(pl.col("line").replace_strict(self.names)), "mark")
        return data


def draw_lines(data: LineChartData, frame: Frame) -> alt.TopLevelMixin:
    """The figure; a reader can pick lines in its legend, and a panel in the menu of an interactive figure."""
    # With four panels in three columns, the last panel would be alone in its row.
    columns = 2 if len(frame.panels) == 4 and frame.columns == 3 else frame.columns
    x = alt.X("x:Q").title(data.axes.x_title).axis(tickMinStep=data.axes.step, grid=False)
    if data.axes.doubling:
        x = x.scale(type="symlog", constant=1).axis(values=data.ticks, grid=False, format="d")
    encodings = _line_encodings(data, columns)
    layers = _line_layers(data.axes, x, encodings)
    if data.bands is not None or data.marks is not None:
        layers = [layer.transform_filter("datum.part == 'line'") for layer in layers]
    if data.bands is not None:
        layers = [*_band_layers(), *layers]
    if data.marks is not None:
        layers = [*layers, *_mark_layers(x, encodings["color"])]
    facet = panel_facet(frame.panels)
    panel = alt.layer(*layers).properties(**PANEL)
    figure = panel.facet(facet, columns=columns, data=data.table())
    if frame.interactive and len(frame.panels) > 1:
        figure = _with_menu_of_panels(figure, frame.panels)
    if len(frame.panels) % columns and len(frame.panels) > columns:
        # A shared x axis would be drawn below the empty cells at the end of the last row.
        figure = figure.resolve_axis(x="independent")
    return themed(figure.properties(title=title_params(frame.title, frame.subtitle, frame.columns)))


def _with_menu_of_panels(figure: alt.FacetChart, panels: list[str]) -> alt.FacetChart:
    """The figure with a menu in which a reader chooses one panel, or all."""
    menu = alt.binding_select(options=[None, *panels], labels=["all", *panels], name="Panel ")
    chosen = alt.param(name="chosen_panel", bind=menu, value=None)
    return figure.add_params(chosen).transform_filter("chosen_panel == null || datum.panel == chosen_panel")


def _line_encodings(data: LineChartData, columns: int) -> dict[str, Any]:
    """Colour, dashes and shape of the lines, with their legend."""
    labels = list(data.names.values())
    strokes = strokes_of(list(data.names)) if data.strokes is None else [data.strokes[line] for line in data.names]
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
    return {
        "color": alt.Color("line:N").scale(domain=labels, range=[s.color for s in strokes]).legend(legend),
        "dash": alt.StrokeDash("line:N").scale(domain=labels, range=[list(s.dash) for s in strokes]).legend(legend),
        "shape": alt.Shape("line:N").scale(domain=labels, range=[s.shape for s in strokes]).legend(legend),
    }


def _line_layers(axes: Axes, x: alt.X, encodings: dict[str, Any]) -> list[alt.Chart]:
    """A rule at 0, intervals as areas, means as lines, and points with tooltips."""
    color, dash, shape = (encodings[name] for name in ("color", "dash", "shape"))
    pick = alt.selection_point(fields=["line"], bind="legend", name="pick")
    strength = alt.when(pick).then(alt.value(1.0)).otherwise(alt.value(0.12))
    area_strength = alt.when(pick).then(alt.value(0.18)).otherwise(alt.value(0.03))
    base = alt.Chart().encode(x=x)
    area = base.mark_area().encode(
        y=alt.Y("low:Q").title(axes.y_title), y2="high:Q", color=color, opacity=area_strength
    )
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("mean:Q").title(axes.y_title), color=color, strokeDash=dash, opacity=strength
    )
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("x:Q", title=axes.x_title.split(" (")[0].lower()),
        alt.Tooltip("mean:Q", title="mean", format=".3~f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3~f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3~f"),
        alt.Tooltip("questions:Q", title="questions"),
        alt.Tooltip("images:Q", title="images"),
    ]
    points = (
        base.mark_point(size=26, filled=True)
        .encode(y="mean:Q", color=color, shape=shape, opacity=strength, tooltip=tooltip)
        .add_params(pick)
    )
    zero = [alt.Chart().mark_rule(color="#555555", strokeWidth=0.7).encode(y=alt.datum(0))] if axes.zero else []
    return [*zero, area, line, points]


def _joined(data: pl.DataFrame, more: pl.DataFrame, part: str) -> pl.DataFrame:
    """The two tables in one, as all panels share one table; the column `part` distinguishes their rows."""
    if "part" not in data.columns:
        data = data.with_columns(part=pl.lit("line"))
    return pl.concat([data, more.with_columns(part=pl.lit(part))], how="diagonal")


def _band_layers() -> list[alt.Chart]:
    """Every second span in grey, the interval of each start darker, and a label at the top."""
    bands = alt.Chart().transform_filter("datum.part == 'band'")
    shade = alt.when("datum.shaded").then(alt.value(0.05)).otherwise(alt.value(0.0))
    spans = bands.mark_rect(color="#000000").encode(x=alt.X("start:Q"), x2="end:Q", opacity=shade)
    intervals = bands.transform_filter("datum.low < datum.high").mark_rect(color="#000000", opacity=0.09)
    edges = bands.transform_filter("datum.begins").mark_rule(color="#555555", strokeWidth=0.8, strokeDash=[2, 2])
    labels = bands.mark_text(baseline="top", fontSize=11, color="#333333").encode(
        x=alt.X("middle:Q"), y=alt.value(3), text="label:N"
    )
    return [spans, intervals.encode(x=alt.X("low:Q"), x2="high:Q"), edges.encode(x=alt.X("start:Q")), labels]


def _mark_layers(x: alt.X, color: alt.Color) -> list[alt.Chart]:
    """A ring at each point, and a bar for the interval of its x."""
    marks = alt.Chart().transform_filter("datum.part == 'mark'")
    bar = marks.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q"), x2="high:Q", y="mean:Q", color=color)
    ring = marks.mark_point(size=110, filled=False, strokeWidth=1.8).encode(x=x, y="mean:Q", color=color)
    return [bar, ring]
