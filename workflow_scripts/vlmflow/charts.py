"""A summary as an Altair chart: a panel a task, a line an edge or word, the mean with its 95 % interval."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import polars as pl

from .edges import Edge
from .study import Figure, FlowChart, KnockoutProbe, Probe
from .tables import whole


@dataclass(frozen=True)
class Stroke:
    """How a line is told from the others: by colour, and without colour by dashes and the shape of its points."""

    color: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = "circle"


# One stroke per edge and word, the same in every figure of every study.
STROKES = {
    "question -> last": Stroke("#0063a6"),
    "image -> last": Stroke("#d1570c", (6, 3), "square"),
    "last -> last": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "image -> question": Stroke("#00805c"),
    "related patches -> question": Stroke("#b0307f"),
    "other patches -> question": Stroke("#dd9c00", (6, 3), "square"),
    "capitalised answer": Stroke("#0063a6"),
    "lowercase answer": Stroke("#d1570c", (6, 3), "square"),
    "false option": Stroke("#7a7a7a", (2, 2), "triangle-up"),
}
SPARE = [
    Stroke("#5b3a9e", (8, 2, 2, 2), "diamond"),
    Stroke("#2a9bc4", (4, 2), "cross"),
    Stroke("#7d5a28", (2, 4), "triangle-down"),
    Stroke("#1b1b1b", (10, 3), "square"),
    Stroke("#8fae00", (3, 1), "circle"),
]
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
ARROW_FONT = f"DejaVu Sans, {FONT}"  # the sans-serif font that commonly has "↛"
CAPTIONS = {
    "flow": (
        "Relative change in the probability of the model's answer when the edge is knocked out in the layers of a "
        "window around each layer. Lines: mean over questions; bands: 95 % bootstrap interval over pictures."
    ),
    "lens": (
        "Probability of each word at the last position when the state after each layer is read through the "
        "unembedding. Lines: mean over questions; bands: 95 % bootstrap interval over pictures."
    ),
}


def caption(figure: Figure, probe: Probe) -> str:
    """What the figure shows, in words, with the settings that the reader needs."""
    text = CAPTIONS[figure.chart]
    if isinstance(probe, KnockoutProbe):
        return f"{text} Window: {probe.window} layer{'s' if probe.window > 1 else ''}."
    reading = (
        "normed as the last layer's is" if probe.final_norm else "without the final norm, the last layer's with it"
    )
    return f"{text} Inner states are read {reading}; layer −1 is the embedding."


def draw(summary: pl.DataFrame, figure: Figure, model: str, tasks: list[str], panels: int) -> alt.TopLevelMixin:
    """The figure of one model.

    Args:
        summary: the probe's summary, all models and tasks.
        figure: as the study file has it.
        model: the name of the model in the summary.
        tasks: the order of the panels.
        panels: how many stand side by side.
    """
    rows = summary.filter(pl.col("model") == model)
    if isinstance(figure, FlowChart):
        rows = rows.with_columns(line=pl.col("edge"))
        lines = list(figure.edges)
        names = {edge: Edge.parse(edge).crossed for edge in lines}
        y_title, layer_title = "Change in p(answer), %", "Layer (middle of the window)"
    else:
        rows = rows.with_columns(line=pl.col("word"))
        lines = [word for word in STROKES if word in rows["line"].unique()]
        names = {word: word for word in lines}
        y_title, layer_title = "Probability", "Layer"
    rows = rows.filter(pl.col("line").is_in(lines)).with_columns(pl.col("line").replace_strict(names))
    if len(rows) == 0:
        return _empty(figure.title, model)
    counts = rows.group_by("task").agg(pl.col("questions").max(), pl.col("pictures").max()).sort("task")
    rows = rows.join(counts.select("task", panel=pl.format("{} (n = {})", "task", "questions")), on="task")
    order = [panel for task in tasks for panel in rows.filter(pl.col("task") == task)["panel"].unique().to_list()]
    span = _span(counts["questions"]), _span(counts["pictures"])
    size = f"n = {span[0]} questions a task, on {span[1]} pictures"
    subtitle = [f"{model}; {size}"] if panels > 1 else [model, size]
    return _panels(rows, names, order, panels, y_title, layer_title, figure.title, subtitle)


def _empty(title: str, model: str) -> alt.TopLevelMixin:
    """In place of a figure for which nothing could be measured."""
    words = (
        alt.Chart(alt.Data(values=[{}]))
        .mark_text(fontSize=13)
        .encode(text=alt.value("No question was left to analyse."))
    )
    return words.properties(
        title=alt.TitleParams(title or " ", subtitle=model, anchor="start", fontSize=14, subtitleFontSize=12),
        width=400,
        height=60,
    ).configure(font=FONT)


def _span(counts: pl.Series) -> str:
    """`200`, or `180 to 200` where they differ."""
    values = sorted(set(counts))
    return " to ".join(str(value) for value in values[:: max(1, len(values) - 1)])


def _strokes(lines: list[str]) -> list[Stroke]:
    """The stroke of each line; one that has none of its own gets a spare one by its name, the same in every figure."""
    strokes: list[Stroke] = []
    for line in lines:
        place = hashlib.sha256(line.encode()).digest()[0]
        spare = [SPARE[(place + step) % len(SPARE)] for step in range(len(SPARE))]
        free = [stroke for stroke in spare if stroke not in strokes]
        strokes.append(STROKES.get(line) or (free or spare)[0])
    return strokes


def _panels(
    rows: pl.DataFrame,
    names: dict[str, str],
    order: list[str],
    panels: int,
    y_title: str,
    layer_title: str,
    title: str,
    subtitle: list[str],
) -> alt.TopLevelMixin:
    strokes = _strokes(list(names))
    shown = list(names.values())
    pick = alt.selection_point(fields=["line"], bind="legend", name="pick")
    legend = alt.Legend(
        title=None,
        orient="top",
        symbolOpacity=1,
        symbolDash=[1, 0],
        symbolStrokeWidth=0,
        symbolSize=110,
        labelLimit=300,
        columns=panels,
        columnPadding=24,
    )
    x = alt.X("layer:Q").title(layer_title).axis(tickMinStep=1, grid=False)
    color = alt.Color("line:N").scale(domain=shown, range=[s.color for s in strokes]).legend(legend)
    dash = alt.StrokeDash("line:N").scale(domain=shown, range=[list(s.dash) for s in strokes]).legend(legend)
    shape = alt.Shape("line:N").scale(domain=shown, range=[s.shape for s in strokes]).legend(None)
    strength = alt.when(pick).then(alt.value(1.0)).otherwise(alt.value(0.12))
    fog = alt.when(pick).then(alt.value(0.18)).otherwise(alt.value(0.03))
    base = alt.Chart().encode(x=x)
    band = base.mark_area().encode(y=alt.Y("low:Q").title(y_title), y2="high:Q", color=color, opacity=fog)
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("mean:Q").title(y_title), color=color, strokeDash=dash, opacity=strength
    )
    tooltip = [
        alt.Tooltip("line:N", title="line"),
        alt.Tooltip("layer:Q", title="layer"),
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
    zero = alt.Chart().mark_rule(color="#555555", strokeWidth=0.7).encode(y=alt.datum(0))
    facet = alt.Facet("panel:N", sort=order).title(None).header(labelFontWeight="bold", labelFontSize=12)
    return (
        alt.layer(zero, band, line, points)
        .properties(width=190, height=140)
        .facet(
            facet,
            columns=panels,
            data=rows.select("panel", "line", "layer", "mean", "low", "high", "questions", "pictures"),
        )
        .properties(
            title=alt.TitleParams(title or " ", subtitle=subtitle, anchor="start", fontSize=14, subtitleFontSize=12)
        )
        .configure(font=FONT)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_legend(labelFontSize=12, labelFont=ARROW_FONT)
        .configure_view(stroke="#cccccc")
    )


def save(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write HTML that needs no network, SVG, or PNG at twice the size, by the ending of `path`."""
    with whole(path) as temporary:
        match Path(path).suffix:
            case ".html":
                chart.save(temporary, format="html", inline=True)
            case ".svg":
                chart.save(temporary, format="svg")
            case ".png":
                chart.save(temporary, format="png", scale_factor=2)
            case ending:
                raise ValueError(f"{path}: charts are written as .html, .svg or .png, not as {ending!r}")
