"""The heat map of heads, and the table of the strongest ones."""

import polars as pl
import pytest

from support.frames import TASKS, drawn, interval, nothing
from vlmflow.figures import HeadsChart
from vlmflow.figures.style import ARROW_FONT, FONT
from vlmflow.probes import HeadsProbe

PROBE = HeadsProbe(kind="heads", edges=["question -> last"], zero=["last"])
FIGURE = HeadsChart(chart="heads", probe="p", title="Heads")


def summary(sharing=2, noise=0):
    """Head 3 of layer 1 costs much in the first task, head 0 of layer 2 less; the halves agree but for noise."""
    rows = []
    for task in TASKS:
        for name in PROBE.interventions:
            for head in range(4):
                for layer in range(3):
                    mean = {(3, 1): -60.0, (0, 2): -20.0}.get((head, layer), -0.1 * head - 0.01 * layer)
                    about = {"task": task, "intervention": name, "window": 1, "quantity": "change", "head": head}
                    halves = {"first_half": mean, "second_half": mean + noise * (head == 3)}
                    about |= {"layer": layer, "key_head": head // sharing} | halves
                    rows.append(interval(mean, spread=0.05) | about)
    return HeadsProbe.summary_table().frame(rows)


def test_a_heat_map_of_heads_and_layers():
    chart = drawn(summary(), FIGURE, PROBE, "m", TASKS, columns=2).to_dict()
    layers = chart["spec"]["layer"]
    assert layers[0]["encoding"]["y"]["sort"] == ["0 (keys 0)", "1 (keys 0)", "2 (keys 1)", "3 (keys 1)"]
    (rows,) = chart["datasets"].values()
    assert {row["mean"] for row in rows if (row["line"], row["layer"]) == ("3 (keys 1)", 1)} == {-60.0}
    assert len({row["panel"] for row in rows}) == len(TASKS) * 2
    alone = drawn(summary(sharing=1), FIGURE, PROBE, "m", TASKS, columns=2).to_dict()
    assert alone["spec"]["layer"][0]["encoding"]["y"]["sort"] == ["0", "1", "2", "3"]


def test_headings_with_a_crossed_arrow_have_a_font_with_this_character():
    chart = drawn(summary(), FIGURE, PROBE, "m", TASKS, columns=2).to_dict()
    assert chart["facet"]["header"]["labelFont"] == ARROW_FONT
    zeroed = HeadsProbe(kind="heads", zero=["last"], mean=["last"])
    renamed = summary().with_columns(pl.col("intervention").replace("question -> last", "mean at last"))
    assert drawn(renamed, FIGURE, zeroed, "m", TASKS, columns=2).to_dict()["facet"]["header"]["labelFont"] == FONT


def test_the_strongest_heads_and_their_stability():
    table = FIGURE.effects(PROBE, summary())
    assert table.lines == ["1.", "2.", "3.", "4.", "5.", "strongest of a half, on the other", "ranks"]
    first, *_, other_half, stable = table.rows[0]["cells"]
    assert other_half["value"] == "−60.0 %"
    # Measured on the half on which it was not chosen, head 3 is 50 points weaker in one of the two.
    shifted = FIGURE.effects(PROBE, summary(noise=50)).rows[0]["cells"][-2]
    assert shifted["value"] == "−15.0 %"
    assert other_half["interval"] == "", "no extreme could be found in every resample"
    found = summary().with_columns(
        extreme_low=pl.when(pl.col("mean") == -60).then(-70.5), extreme_high=pl.when(pl.col("mean") == -60).then(-49.5)
    )
    assert FIGURE.effects(PROBE, found).rows[0]["cells"][-2] == {
        "value": "−60.0 %",
        "interval": "[−70.5, −49.5]",
        "where": "",
    }
    assert "−60.0 % [−70.5, −49.5]" in FIGURE.sentence(PROBE, found, "m")
    assert first == {"value": "−60.0 %", "interval": "[−60.0, −60.0]", "where": "head 3 of layer 1"} | {
        "interval": first["interval"]
    }
    assert stable["value"] == "1.00"
    assert stable["interval"] == "5 of 5"
    unstable = FIGURE.effects(PROBE, summary(noise=100)).rows[0]["cells"][-1]
    assert float(unstable["value"]) < 0.9
    assert unstable["interval"] != "5 of 5"


def test_the_sentence_names_the_strongest_head():
    words = FIGURE.sentence(PROBE, summary(), "m")
    assert "question ↛ last lowers the probability of the model's answer most in head 3 of layer 1" in words
    assert "First 1.00 (5 of 5)" in words
    assert "in one head of a layer alone" in FIGURE.caption(PROBE)


def test_what_was_not_measured_has_its_reason_in_the_table():
    absent = {"task": TASKS[0], "intervention": "options -> last", "note": "it was built without options"}
    rows = HeadsProbe.summary_table().frame([nothing(HeadsProbe.summary_table(), **absent)])
    (row,) = FIGURE.effects(PROBE, rows).rows
    assert row["task"] == f"{TASKS[0]}, options ↛ last"
    assert {cell["note"] for cell in row["cells"]} == {"it was built without options"}


@pytest.mark.parametrize("measure", ["margin", "flips"])
def test_another_measure_that_is_not_there_is_said(measure):
    figure = FIGURE.model_copy(update={"measure": measure})
    assert figure.sentence(PROBE, summary(), "m") == "m: nothing that the figure shows could be measured."
