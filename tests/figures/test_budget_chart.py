"""The figure of budgets: what stands in it, and what is said of it."""

import polars as pl
import pytest

from support.frames import axes_of, cells_of, data_of, drawn, legend_of, panels_of, specified
from support.image_frames import BUDGET_PROBE, BY_KEEP, KEPT, PROMPTS, TASKS, WAYS
from vlmflow.figures import BudgetChart

BUDGET_BY_PROMPT = BudgetChart(chart="budget", probe="p", by="prompt")


def marks_of(chart):
    rows = data_of(chart)
    return rows.filter(pl.col("part") == "mark").select("panel", "line", "x", "mean", "low", "high").rows()


def test_a_budget_figure_has_a_line_per_way_to_keep_tokens_and_a_ring_per_knee(budget_summary, knee_table):
    chart = drawn(budget_summary, BY_KEEP, BUDGET_PROBE, "m", TASKS, 3, curve_features=knee_table)
    assert panels_of(chart) == [f"{task}, {prompt} (n = 7)" for task in TASKS for prompt in PROMPTS]
    assert legend_of(chart) == list(WAYS.values())
    assert axes_of(chart) == ({"Image tokens kept"}, {"Loss, nats per token"})
    assert marks_of(chart) == [
        ("other, question (n = 7)", "the first tokens", 8.0, 2.8, 4.0, 16.0),
        ("first, all (n = 7)", "random tokens", 2.0, 3.4, 1.0, 4.0),
    ], "a ring where there is a knee"
    lines = data_of(chart).filter(pl.col("part") == "line")
    assert len(lines) == len(TASKS) * len(PROMPTS) * len(WAYS) * len(KEPT)
    assert lines["x"].max() == 64, "and not 100, which not every image has"


def test_a_budget_figure_by_prompt_has_a_line_per_prompt(budget_summary, knee_table):
    chart = drawn(budget_summary, BUDGET_BY_PROMPT, BUDGET_PROBE, "m", TASKS, 3, curve_features=knee_table)
    assert panels_of(chart) == [f"{task}, {way} (n = 7)" for task in TASKS for way in WAYS.values()]
    assert set(legend_of(chart)) == set(PROMPTS)
    assert marks_of(chart) == [
        ("other, the first tokens (n = 7)", "question", 8.0, 2.8, 4.0, 16.0),
        ("first, random tokens (n = 7)", "all", 2.0, 3.4, 1.0, 4.0),
    ]


@pytest.mark.parametrize("figure", [BY_KEEP, BUDGET_BY_PROMPT])
def test_equal_steps_of_budgets_are_doublings(budget_summary, knee_table, figure):
    """With room for none at all, and the knees on the same axis."""
    for more in ({}, {"curve_features": knee_table}):
        chart = specified(drawn(budget_summary, figure, BUDGET_PROBE, "m", TASKS, 3, **more))
        places = [layer["encoding"]["x"] for layer in chart["spec"]["layer"]]
        on_axis = [x for x in places if x["field"] == "x"]
        assert len(on_axis) == 3 + len(more)
        for x in on_axis:
            assert (x["scale"]["type"], x["scale"]["constant"]) == ("symlog", 1)
            assert x["axis"]["values"] == [0, 1, 4, 16, 64]


def test_the_sentence_and_table_of_budgets_name_losses_and_knees(budget_summary, knee_table):
    words = BY_KEEP.sentence(BUDGET_PROBE, budget_summary, "m", knee_table)
    assert words == (
        "m: the figure keeps up to 64 tokens. The loss falls from 4.00 without the image to 1.90 nats per token with "
        "it; 2 of 3 curves have a knee, at 2 to 8 tokens; 95 % of the decrease takes 32 tokens."
    )
    words = BY_KEEP.sentence(BUDGET_PROBE, budget_summary, "m", knee_table.head(1))
    assert "its knee is at 8 [4, 16] tokens;" in words
    words = BY_KEEP.sentence(BUDGET_PROBE, budget_summary, "m", knee_table.filter(pl.col("knee").is_null()))
    assert "no curve has a knee;" in words
    assert BY_KEEP.sentence(BUDGET_PROBE, budget_summary, "m") == "m: the figure keeps up to 64 tokens."
    cells = cells_of(BY_KEEP.effects(BUDGET_PROBE, budget_summary))
    assert cells["other, all", "evenly spread tokens"] == {
        "value": "1.40",
        "interval": "[1.20, 1.60]",
        "where": "tokens: 64",
    }
    cells = cells_of(BUDGET_BY_PROMPT.effects(BUDGET_PROBE, budget_summary))
    assert cells["first, the first tokens", "all"]["value"] == "1.90"
