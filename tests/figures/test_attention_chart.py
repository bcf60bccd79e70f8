"""The figure of attention along edges: what stands in it, and what is said of it."""

import polars as pl

from support.frames import axes_of, cells_of, data_of, drawn, legend_of, nothing, panels_of, specified
from support.image_frames import ATTENTION, ATTENTION_PROBE, EDGES, TASKS
from vlmflow.probes import AttentionProbe


def test_attention_has_a_panel_per_task_and_quantity(attention_summary):
    chart = drawn(attention_summary, ATTENTION, ATTENTION_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [
        f"{task}, {quantity} (n = 7)" for task in TASKS for quantity in ("attention weights", "norms")
    ]
    assert set(legend_of(chart)) == set(data_of(chart)["line"])
    assert set(legend_of(chart)) == {
        "image → question",
        "question → last",
        "image → image",
        "template → last",
    }
    assert "↛" not in str(specified(chart)), "nothing is knocked out"
    assert axes_of(chart) == ({"Layer"}, {"Percent of all positions"})
    assert len(data_of(chart)) == len(TASKS) * len(EDGES) * 2 * 4, "norms in their own unit are not drawn"


def test_attention_may_show_some_edges_in_the_figures_order(attention_summary):
    figure = ATTENTION.model_copy(update={"edges": [EDGES[1], EDGES[0]]})
    chart = drawn(attention_summary, figure, ATTENTION_PROBE, "m", TASKS, columns=3)
    assert legend_of(chart) == ["question → last", "image → question"], "in the figure's order"
    assert figure.effects(ATTENTION_PROBE, attention_summary).lines == ["question → last", "image → question"]


def test_the_sentence_and_table_of_attention_name_the_largest_values(attention_summary):
    words = ATTENTION.sentence(ATTENTION_PROBE, attention_summary, "m")
    assert words.startswith(
        "m: question to image: at most 40 % of the attention (layer 2, other) and 23 % of the norms (layer 1, first); "
        "last to question: at most 8 % of the attention (layer 3, "
    )
    cells = cells_of(ATTENTION.effects(ATTENTION_PROBE, attention_summary))
    assert cells["other, attention weights", "image → question"] == {
        "value": "40.0 %",
        "interval": "[39.0, 41.0]",
        "where": "layer 2",
    }
    assert cells["first, norms", "image → question"]["value"] == "23.0 %"


def test_an_edge_that_a_task_does_not_have_has_its_reason(attention_summary):
    row = nothing(AttentionProbe.summary_table(), task="first", edge=EDGES[1], note="it was built without options")
    there = attention_summary.filter((pl.col("task") != "first") | (pl.col("edge") != EDGES[1]))
    found = ATTENTION.effects(ATTENTION_PROBE, pl.concat([there, AttentionProbe.summary_table().frame([row])]))
    cells = cells_of(found)
    assert [each["task"] for each in found.rows] == [
        "other, attention weights",
        "other, norms",
        "first, attention weights",
        "first, norms",
    ]
    for quantity in ("attention weights", "norms"):
        assert cells[f"first, {quantity}", "question → last"] == {"note": "it was built without options"}
        assert "value" in cells[f"other, {quantity}", "question → last"]
    assert "value" in cells["first, norms", "image → question"]
