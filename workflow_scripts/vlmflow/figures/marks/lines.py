"""Panels of lines: the mean with its 95 % interval over layers."""

from dataclasses import dataclass, field

import altair as alt
import polars as pl

from ..style import dressed, name_of, strokes_of, title_of

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
        doubling: whether equal steps on the x axis are doublings (of 1 + x, so that there is room for 0).
        names: of the lines in the legend, where they differ from `name_of`.
        bands: panel, start, end, low, high, label: spans of x, each with the interval of where it begins; behind the
            lines.
        marks: panel, line, x, mean, low, high: a place on a line, and the interval of its x.
    """

    rows: pl.DataFrame
    lines: list[str]
    panels: list[str]
    x_title: str
    y_title: str
    zero: bool = True
    doubling: bool = False
    names: dict[str, str] = field(default_factory=dict)
    bands: pl.DataFrame | None = None
    marks: pl.DataFrame | None = None

    @property
    def ticks(self) -> list[float]:
        """Where the x axis of doublings has its numbers."""
        most = float(self.rows["x"].max())  # type: ignore[arg-type]
        return [0.0, *(2.0**power for power in range(0, 32, 2) if 2**power <= 0.75 * most), most]


def draw_lines(shown: Lines, columns: int, title: str, subtitle: list[str]) -> alt.TopLevelMixin:
    """The figure, `columns` panels side by side; lines can be picked in its legend."""
    names = {line: shown.names.get(line, name_of(line)) for line in shown.lines}
    if len(shown.panels) == 4 and columns == 3:
        columns = 2  # a panel alone in its row is a hole beside it
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
    if shown.doubling:
        x = x.scale(type="symlog", constant=1).axis(values=shown.ticks, grid=False, format="d")
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
    data = data.with_columns(pl.col("line").replace_strict(names))
    layers: list[alt.Chart] = [*zero, band, line, points]
    if shown.bands is not None:
        layers = [*_bands(), *(layer.transform_filter("datum.part == 'line'") for layer in layers)]
        data = _joined(data, shown.bands, "band")
    if shown.marks is not None:
        layers = [*(layer.transform_filter("datum.part == 'line'") for layer in layers), *_marks(x, color)]
        data = _joined(data, shown.marks.with_columns(pl.col("line").replace_strict(names)), "mark")
    figure = alt.layer(*layers).properties(**PANEL).facet(facet, columns=columns, data=data)
    if len(shown.panels) % columns and len(shown.panels) > columns:
        # Else an axis would stand under the place of the panel that is not there.
        figure = figure.resolve_axis(x="independent")
    return dressed(figure.properties(title=title_of(title, subtitle)))


def _joined(data: pl.DataFrame, more: pl.DataFrame, part: str) -> pl.DataFrame:
    """Panels share one table, whose column `part` says which layer a row is for."""
    return pl.concat([data.with_columns(part=pl.lit("line")), more.with_columns(part=pl.lit(part))], how="diagonal")


def _bands() -> list[alt.Chart]:
    """Every second span grey, the interval of each beginning darker, its label above."""
    bands = alt.Chart().transform_filter("datum.part == 'band'")
    shade = alt.when("datum.shaded").then(alt.value(0.05)).otherwise(alt.value(0.0))
    spans = bands.mark_rect(color="#000000").encode(x=alt.X("start:Q"), x2="end:Q", opacity=shade)
    doubt = bands.transform_filter("datum.low < datum.high").mark_rect(color="#000000", opacity=0.09)
    edges = bands.transform_filter("datum.begins").mark_rule(color="#555555", strokeWidth=0.8, strokeDash=[2, 2])
    labels = bands.mark_text(baseline="top", fontSize=11, color="#333333").encode(
        x=alt.X("middle:Q"), y=alt.value(3), text="label:N"
    )
    return [spans, doubt.encode(x=alt.X("low:Q"), x2="high:Q"), edges.encode(x=alt.X("start:Q")), labels]


def _marks(x: alt.X, color: alt.Color) -> list[alt.Chart]:
    """A ring on the line, and a bar for the interval of its place."""
    marks = alt.Chart().transform_filter("datum.part == 'mark'")
    bar = marks.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q"), x2="high:Q", y="mean:Q", color=color)
    ring = marks.mark_point(size=110, filled=False, strokeWidth=1.8).encode(x=x, y="mean:Q", color=color)
    return [bar, ring]
