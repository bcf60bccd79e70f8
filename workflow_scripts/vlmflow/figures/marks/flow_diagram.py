"""Arrows between lanes, depth upwards."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from ..flow_diagram import HEIGHT, TITLE
from ..style import strokes_of
from .theme import panel_facet, strip_invalid_xml, themed, title_params

TEXT: dict[str, Any] = {"align": "left", "baseline": "bottom", "fontSize": 11}
WIDEST = 9  # pixels of an arrow of 100 %
TICKS = 7  # at most
PLACE = 7  # pixels between the intervals of several arrows at one lane


def draw_arrows(
    arrows: pl.DataFrame,
    lanes: Sequence[str],
    segments_of: Mapping[str, set[str]],
    headings: Mapping[str, str],
    subtitle: list[str],
    columns: int,
    lane: int,
    layers: int | None = None,
) -> alt.TopLevelMixin:
    """The figure.

    Args:
        arrows: see `flow_diagram.arrows_of`; it may be empty.
        lanes: segments from left to right.
        segments_of: model → the segments that were measured with it.
        headings: model → heading of its panel.
        subtitle: of the figure.
        columns: panels side by side.
        lane: pixels between two lanes.
        layers: of all models, if they have equally many; the axis counts them then.
    """
    shown = {model: strip_invalid_xml(heading) for model, heading in headings.items()}
    panels = list(shown.values())
    drawn = _arrow_rows(arrows, shown, lane)
    measured = {shown[model]: segments for model, segments in segments_of.items()}
    rows = [*_lane_rows(lanes, measured, {row["panel"] for row in drawn}), *drawn]
    edges = list(dict.fromkeys(arrows["edge"])) if len(arrows) else []
    color = alt.Color("edge:N", legend=None).scale(domain=edges, range=[each.color for each in strokes_of(edges)])
    size = alt.Size("size:Q", legend=None).scale(domain=[0, 100], range=[1, WIDEST], clamp=True)
    x = alt.X("x:Q").scale(domain=[-0.45, len(lanes) - 0.55], nice=False, zero=False).axis(_lane_axis(lanes))
    y = alt.Y("y:Q").scale(domain=[-0.06, 1.04], nice=False).axis(_depth_axis(layers))
    parts = _layers(alt.Chart().encode(x=x, y=y), color, size)
    panel = alt.layer(*parts).properties(width=lane * len(lanes), height=HEIGHT).resolve_scale(size="independent")
    facet = panel_facet(panels, width=lane * len(lanes))
    figure = panel.facet(facet, columns=min(columns, max(1, len(panels))), data=alt.Data(values=rows))
    if len(panels) % columns and len(panels) > columns:
        figure = figure.resolve_axis(x="independent")
    return themed(figure.properties(title=title_params(TITLE, subtitle, columns)))


def _depth_axis(layers: int | None) -> alt.Axis:
    """The axis of relative depth, in layers if all models have the same number of them."""
    if layers is None:
        values = [0, 0.2, 0.4, 0.6, 0.8, 1]
        return alt.Axis(title="Depth (share of the layers)", values=values, format=".1f", grid=False)
    step = next(step for step in (1, 2, 5, 10, 20, 50, layers) if layers / step <= TICKS)
    counted = [layer / layers for layer in range(0, layers + 1, step)]
    return alt.Axis(title="Layer", values=counted, labelExpr=f"round(datum.value * {layers})", grid=False)


def _layers(base: alt.Chart, color: alt.Color, size: alt.Size) -> list[alt.Chart]:
    """Lanes, intervals of places, arrows with their heads, and labels with a white halo."""

    def part(name: str) -> alt.Chart:
        return base.transform_filter(f"datum.part == '{name}'")

    tooltip = [
        alt.Tooltip("edge:N"),
        alt.Tooltip("layer:Q", title="layer"),
        alt.Tooltip("layers:N", title="95 %: layers"),
        alt.Tooltip("effect:Q", title="change, %", format=".1f"),
        alt.Tooltip("interval:N", title="95 %"),
    ]
    label = part("label").encode(text="label:N")
    return [
        part("lane").mark_rule(color="#c4c8cc", strokeWidth=1.5).encode(y2="y2:Q"),
        part("place").mark_rule(strokeWidth=4, opacity=0.7).encode(y2="y2:Q", color=color),
        part("arrow").mark_rule().encode(x2="x2:Q", y2="y2:Q", color=color, size=size, tooltip=tooltip),
        part("head")
        .mark_point(shape="triangle-right", filled=True, opacity=1, stroke=None)
        .encode(color=color, size=alt.Size("area:Q", legend=None).scale(None), angle=alt.Angle("angle:Q").scale(None)),
        label.mark_text(**TEXT, stroke="white", strokeWidth=3, strokeJoin="round"),
        label.mark_text(**TEXT, color="#1c1e21"),
    ]


def _lane_axis(lanes: Sequence[str]) -> alt.Axis:
    """The names of the lanes, with a line for each word."""
    names = [strip_invalid_xml(name).replace("'", "’") for name in lanes]
    words = ", ".join(f"'{name}'" for name in names)
    labels = f"split([{words}][datum.value], ' ')"
    return alt.Axis(values=list(range(len(lanes))), labelExpr=labels, title=None, grid=False, ticks=False, labelAngle=0)


def _lane_rows(lanes: Sequence[str], measured: Mapping[str, set[str]], found: set[str]) -> list[dict]:
    """The lanes of each panel that are measured, and a remark in a panel without arrows.

    Args:
        lanes: segments from left to right.
        measured: panel → its segments.
        found: the panels with arrows.
    """
    rows: list[dict] = []
    for panel, segments in measured.items():
        rows += [
            {"panel": panel, "part": "lane", "x": x, "y": 0, "y2": 1}
            for x, lane in enumerate(lanes)
            if lane in segments
        ]
        if panel not in found:
            rows.append({"panel": panel, "part": "label", "x": -0.4, "y": 0.5, "label": "no stage was found"})
    return rows


def _arrow_rows(arrows: pl.DataFrame, headings: Mapping[str, str], lane: int) -> list[dict]:
    """The parts of each arrow: the interval of its place, its line, its head and its label."""
    rows = []
    ending: dict[tuple[str, float], list[str]] = {}
    for row in arrows.to_dicts():
        edges = ending.setdefault((row["model"], row["x2"]), [])
        if row["edge"] not in edges:
            edges.append(row["edge"])
        beside = row["x2"] + PLACE * (1 + edges.index(row["edge"])) / lane
        about = {
            "panel": headings[row["model"]],
            "edge": row["edge"],
            "layer": row["layer"],
            "layers": f"{row['layer_low']} to {row['layer_high']}",
            "effect": row["effect"],
            "interval": row["interval"],
        }
        across, up = (row["x2"] - row["x"]) * lane, (row["y2"] - row["y"]) * HEIGHT / 1.1
        width = 1 + (WIDEST - 1) * min(row["size"], 100) / 100
        area = (6 + 2 * width) ** 2
        length = math.hypot(across, up)
        end = 1 - (3 + width) / length  # the line ends inside of its head
        tip = 1 - (4 + width) / length
        rows += [
            about | {"part": "place", "x": beside, "y": row["low"] - 0.008, "y2": row["high"] + 0.008},
            about
            | {"part": "arrow", "x": row["x"], "y": row["y"], "size": row["size"]}
            | {"x2": row["x"] + end * (row["x2"] - row["x"]), "y2": row["y"] + end * (row["y2"] - row["y"])},
            about
            | {"part": "head", "area": area, "angle": -math.degrees(math.atan2(up, across))}
            | {"x": row["x"] + tip * (row["x2"] - row["x"]), "y": row["y"] + tip * (row["y2"] - row["y"])},
            about | {"part": "label", "x": row["label_x"], "y": row["label_y"], "label": row["label"]},
        ]
    return rows
