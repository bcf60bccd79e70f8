"""The figure of the norm of states: what is in it, and what is said of it."""

import pytest

from support.frames import TASKS, axes_of, cells_of, data_of, drawn, interval, legend_of, nothing, panels_of
from vlmflow.figures import StatesChart
from vlmflow.probes import StatesProbe

PROBE = StatesProbe(kind="states", segments=["question", "last", "objects"])
FIGURE = StatesChart(chart="states", probe="p", title="Norm of the states")
NOTE = "this prompt has no 'objects': it was built without objects"


@pytest.fixture
def summary():
    """Norms that grow with the layer, except that of the question after the last one."""
    rows = [
        {"task": task, "segment": segment, "layer": layer}
        | interval(
            (2.0 if segment == "last" else 3.0) * (layer + 2) * (layer < 3 or segment == "last") + (task == "First")
        )
        for task in TASKS
        for segment in ("last", "question")
        for layer in range(-1, 4)
    ]
    table = StatesProbe.summary_table()
    return table.frame([*rows, *(nothing(table, task=task, segment="objects", note=NOTE) for task in TASKS)])


def test_a_line_per_segment_in_the_order_of_the_study(summary):
    chart = drawn(summary, FIGURE, PROBE, "m", TASKS, columns=2)
    assert panels_of(chart) == [f"{task} (n = 7)" for task in TASKS]
    assert legend_of(chart) == ["question", "last"]
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {"Norm of the state"})
    rows = data_of(chart)
    assert len(rows) == 2 * 2 * 5
    assert rows["mean"].max() == 13.0


def test_the_sentence_has_the_highest_norm_of_each_segment(summary):
    assert FIGURE.sentence(PROBE, summary, "m") == (
        "m: the norm of the states is highest at question 13.0 [12.0, 14.0] after layer 2 (First); last 11.0 [10.0, "
        "12.0] after layer 3 (First)."
    )


def test_the_table_has_the_reason_for_an_absent_segment(summary):
    cells = cells_of(FIGURE.effects(PROBE, summary))
    assert cells["Second", "last"] == {"value": "10.0", "interval": "[9.0, 11.0]", "where": "layer 3"}
    alone = cells_of(FIGURE.effects(PROBE, summary.filter(segment="objects")))
    assert alone["First", "objects"] == {"note": NOTE}


def test_the_caption_says_of_what_the_norm_is():
    assert FIGURE.caption(PROBE).startswith("Euclidean norm of the mean of a segment's states after each layer, before")
    every = FIGURE.caption(StatesProbe(kind="states", tokens="all"))
    assert "mean over a segment's positions." in every
