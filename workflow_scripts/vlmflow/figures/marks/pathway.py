"""Arrows between segments, layer by layer: the edges of a set, in the blocks of layers in which they are kept."""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from vlmflow.edges import Edge

from ..measures import Shown
from ..panels import Frame
from ..style import name_of, strokes_of
from .theme import panel_facet, themed, title_params

LANE, LAYER, NARROWEST, WIDEST = 46, 14, 270, 560  # pixels: height of a lane, width of a layer and of a panel
SHAFTS, HEADS = (1.5, 7.0), (60, 240)  # width of an arrow's shaft and area of its head, pixels
HEAD = 0.13  # distance of the head's middle from the lane, in lanes


def draw_pathway(
    rows: pl.DataFrame, frame: Frame, shown: Shown, edges: Sequence[str], segments: Sequence[str], blocks: Sequence[int]
) -> alt.TopLevelMixin:
    """The figure.

    Args:
        rows: panel, edge, layer (the first of its block), until (the last), mean, low, high, questions.
        frame: title, subtitle and headings of the panels.
        shown: the measure of the means.
        edges: in the order of the legend.
        segments: from the top to the bottom.
        blocks: the first layer of each block, and the layer after the last one.
    """
    names = {edge: name_of(edge).replace("↛", "→") for edge in edges}
    color = alt.Color("line:N").scale(domain=list(names.values()), range=[s.color for s in strokes_of(list(edges))])
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolSize=250, columns=3)
    base = alt.Chart().encode(x=_layers(blocks), color=color.legend(legend))
    largest = max(abs(shown.stops[0]), abs(shown.stops[-1])) if shown.lowest else shown.stops[-1]
    sizes: dict[str, Any] = {"domain": [0, largest], "clamp": True}
    scale = alt.Scale(domain=[len(segments) - 0.6, -0.4], nice=False)
    tooltip = [
        alt.Tooltip("line:N", title="edge"),
        alt.Tooltip("layers:N", title="layers"),
        alt.Tooltip("mean:Q", title=shown.y_title),
        alt.Tooltip("low:Q", title="95 % from"),
        alt.Tooltip("high:Q", title="95 % to"),
        alt.Tooltip("questions:Q", title="questions"),
    ]
    shafts = base.mark_rule(strokeCap="butt").encode(
        y=alt.Y("source:Q").scale(scale).axis(_lanes(segments)).title(None),
        y2="neck:Q",
        strokeWidth=alt.StrokeWidth("size:Q").scale(range=list(SHAFTS), **sizes).legend(None),
        tooltip=tooltip,
    )
    heads = base.mark_point(shape="triangle-down", filled=True, opacity=1).encode(
        y=alt.Y("neck:Q").scale(scale),
        size=alt.Size("size:Q").scale(range=list(HEADS), **sizes).legend(None),
        tooltip=tooltip,
    )
    width = min(WIDEST, max(NARROWEST, LAYER * (blocks[-1] - blocks[0])))
    panel = alt.layer(shafts, heads).properties(width=width, height=LANE * len(segments))
    facet = panel_facet(frame.panels)
    data = _arrows(rows, names, list(segments))
    figure = panel.facet(facet, columns=min(2, frame.columns), data=data)
    if len(frame.panels) % 2 and len(frame.panels) > 1:
        figure = figure.resolve_axis(x="independent")
    return themed(figure.properties(title=title_params(frame.title, frame.subtitle, frame.columns)))


def _layers(blocks: Sequence[int]) -> alt.X:
    """The x axis: a line before each block, with the number of its first layer."""
    starts = [start - 0.5 for start in blocks]
    step = max(1, -(-(len(starts) - 1) // 16))
    axis: dict[str, Any] = {"values": starts[:-1:step], "labelExpr": "datum.value + 0.5", "grid": True}
    scale = alt.Scale(domain=[starts[0], starts[-1]], nice=False)
    return alt.X("x:Q").scale(scale).title("Layer (first of its block)").axis(**axis, labelAngle=0, gridColor="#dddddd")


def _lanes(segments: Sequence[str]) -> alt.Axis:
    """The y axis: a lane per segment."""
    chosen = "".join(f"datum.value == {rank} ? {json.dumps(name)} : " for rank, name in enumerate(segments))
    return alt.Axis(
        values=list(range(len(segments))), labelExpr=f"{chosen}''", grid=True, gridColor="#999999", ticks=False
    )


def _arrows(rows: pl.DataFrame, names: dict[str, str], segments: list[str]) -> pl.DataFrame:
    """The rows with the ends of their arrows; those of one block stand side by side."""
    place = {edge: (rank + 0.5) / len(names) for rank, edge in enumerate(names)}
    arrows = []
    for row in rows.iter_rows(named=True):
        edge = Edge.parse(row["edge"])
        first, last = row["layer"], row["until"]
        arrows.append(
            {
                "panel": row["panel"],
                "line": names[row["edge"]],
                "layers": f"{first}" if first == last else f"{first}–{last}",
                "x": first - 0.5 + place[row["edge"]] * (last + 1 - first),
                "source": segments.index(edge.source),
                "neck": segments.index(edge.target) - HEAD,
                "size": abs(row["mean"]),
                **{name: round(row[name], 2) for name in ("mean", "low", "high")},
                "questions": row["questions"],
            }
        )
    return pl.DataFrame(arrows)
