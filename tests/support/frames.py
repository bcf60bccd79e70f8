"""Rows of summaries, summaries of knockouts and of the lens, and how the charts made of summaries are read."""

import polars as pl
import pytest

from vlmflow.figures import FigureData, FlowChart, Layout
from vlmflow.figures.drawing import draw
from vlmflow.probes import KnockoutProbe, LensProbe

TASKS = ["Second", "First"]
EDGES = ["question -> last", "image -> last"]
FLOW_PROBE = KnockoutProbe(kind="knockout", window=3, edges=EDGES)
FLOW_FIGURE = FlowChart(chart="flow", probe="flow", edges=EDGES, title="What reaches the last position")


def interval(mean, spread=1.0, **more):
    about = {"mean": mean, "low": mean - spread, "high": mean + spread, "questions": 7, "images": 5, "note": None}
    return {"model": "m"} | about | more


def nothing(table, **more):
    """A row as summaries have it where nothing could be measured."""
    empty = {
        name: None if column.nullable else "" if column.dtype == pl.String else 0
        for name, column in table.columns.items()
    }
    return empty | {"model": "m"} | more


def drawn(summary, figure, probe, model, tasks, columns, interactive=False, **tables):
    """The chart of a summary, drawn; `tables` are further ones from which it is drawn."""
    return draw(figure, probe, FigureData(summary, model, tasks, **tables), Layout(columns, interactive))


def specified(chart):
    return chart.to_dict()


def data_of(chart):
    (rows,) = specified(chart)["datasets"].values()
    return pl.DataFrame(rows, infer_schema_length=None)


def panels_of(chart):
    """The headings in their order, each of which has rows."""
    order = specified(chart)["facet"]["sort"]
    assert set(order) == set(data_of(chart)["panel"])
    return order


def axes_of(chart):
    """(titles of the x axis, titles of the y axis) over all layers of the chart."""
    encodings = [layer["encoding"] for layer in specified(chart)["spec"]["layer"]]
    return tuple(
        {encoding[name]["title"] for encoding in encodings if encoding.get(name, {}).get("title")} for name in "xy"
    )


def legend_of(chart):
    scales = [layer["encoding"].get("color", {}).get("scale", {}) for layer in specified(chart)["spec"]["layer"]]
    return next(scale["domain"] for scale in scales if "domain" in scale)


def cells_of(found):
    """(task, line) → cell of the table of findings."""
    return {
        (row["task"], line): cell for row in found.rows for line, cell in zip(found.lines, row["cells"], strict=True)
    }


@pytest.fixture
def flow_summary():
    return KnockoutProbe.summary_table().frame(
        [
            {"task": task, "edge": edge, "window": 3, "quantity": "change", "layer": layer}
            | interval(-10.0 * layer * (edge == EDGES[0]), multi_token_answers=2)
            for task in TASKS
            for edge in EDGES
            for layer in range(4)
        ]
    )


@pytest.fixture
def lens_summary():
    return LensProbe.summary_table().frame(
        [
            {"task": task, "word": word, "layer": layer} | interval(0.2 * (layer + shift), multi_token_answers=2)
            for task in TASKS
            for word, shift in (("capitalised answer", 0.5), ("lowercase answer", 1))
            for layer in range(-1, 3)
        ]
    )
