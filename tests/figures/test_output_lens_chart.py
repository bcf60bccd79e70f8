"""The figure of the lens at the positions of segments: what stands in it, and what is said of it."""

import polars as pl
import pytest

from support.frames import axes_of, cells_of, data_of, drawn, legend_of, nothing, panels_of, specified
from support.image_frames import LAYERS, OUTPUT_PROBE, PROMPTS, TASKS, output_figure
from vlmflow.figures import OutputLensChart
from vlmflow.figures.style import strokes_of
from vlmflow.probes import OutputLensProbe

NAMES = ["image", "question", "last position"]


@pytest.mark.parametrize(
    ("quantity", "title"), [("entropy", "Entropy, bits"), ("agreement", "Agreement with the output, %")]
)
def test_the_output_lens_has_a_panel_per_task_and_prompt(output_summary, quantity, title):
    chart = drawn(output_summary, output_figure(quantity), OUTPUT_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [f"{task}, {prompt} (n = 7)" for task in TASKS for prompt in PROMPTS]
    assert legend_of(chart) == NAMES, "in the order of the prompt"
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {title})
    rows = data_of(chart)
    assert len(rows) == 4 * len(NAMES) * len(LAYERS)
    assert rows["mean"].max() == {"entropy": 12.5, "agreement": 100.0}[quantity]
    assert specified(chart)["title"]["subtitle"] == ["m; n = 7 questions per task, on 5 images"]


def test_a_prompt_that_all_panels_share_is_not_repeated(output_summary):
    alone = output_summary.filter(pl.col("prompt") == "question")
    chart = drawn(alone, output_figure("entropy"), OUTPUT_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == ["other (n = 7)", "first (n = 7)"]


def test_entropy_is_drawn_by_default_and_lines_differ_without_colour():
    assert OutputLensChart(chart="output-lens", probe="p").quantity == "entropy"
    strokes = strokes_of(["image", "question", "template", "last"])
    assert len({stroke.dash for stroke in strokes}) == len({stroke.shape for stroke in strokes}) == len(strokes)


def test_the_sentence_of_entropy_has_its_ends(output_summary):
    alone = output_summary.filter(pl.col("prompt") == "question")
    assert output_figure("entropy").sentence(OUTPUT_PROBE, alone, "m") == (
        "m: the entropy changes most in other, last position: from 10.90 [10.65, 11.15] bits after the embedding to "
        "1.90 [1.65, 2.15] after layer 8."
    )


def test_the_sentence_of_agreement_has_the_layer_from_which_most_agree(output_summary):
    said = output_figure("agreement").sentence(OUTPUT_PROBE, output_summary, "m")
    assert said == (
        "m: more than half of the positions predict the output's token first from layer 5 on (other, prompt question, "
        "last position: 80.0 % [79.8, 80.2]), last from layer 8 on (other, prompt question, image: 100.0 % [99.8, "
        "100.2])."
    )
    raised = output_summary.with_columns(
        pl.when(pl.col("segment") == "last").then(60.0).otherwise("mean").alias("mean")
    )
    said = output_figure("agreement").sentence(OUTPUT_PROBE, raised, "m")
    assert "first from the embedding on (other, prompt question, last position: 60.0 %" in said
    alone = raised.filter(pl.col("segment") == "last")
    said = output_figure("agreement").sentence(OUTPUT_PROBE, alone, "m")
    assert "token from the embedding on (other, prompt question, last position: 60.0 %" in said


def test_captions_name_the_segments_that_were_read():
    caption = output_figure("entropy").caption(OUTPUT_PROBE)
    assert "image (the image's tokens); question (the prompt's own words); last position (the position from" in caption
    assert "template" not in caption
    probe = OutputLensProbe(kind="output-lens", segments=["template"])
    caption = output_figure("agreement").caption(probe)
    assert "segment: template (the tokens between the question and the last position)." in caption
    assert "After the last layer it is 100 % by construction." in caption


def test_the_table_has_the_highest_means_and_the_reason_for_an_absent_segment(output_summary):
    note = "the prompt question has no such segment: no token is left for it"
    absent = OutputLensProbe.summary_table().frame(
        [nothing(OutputLensProbe.summary_table(), task="other", segment="last", note=note)]
    )
    without = output_summary.filter((pl.col("segment") != "last") | (pl.col("task") != "other"))
    cells = cells_of(output_figure("entropy").effects(OUTPUT_PROBE, output_summary))
    assert cells["first, all", "last position"] == {"value": "12.40", "interval": "[12.15, 12.65]", "where": "layer −1"}
    found = output_figure("agreement").effects(OUTPUT_PROBE, pl.concat([without, absent]))
    assert found.explanation.startswith("Highest mean before the last layer, with its 95 % interval and its position.")
    cells = cells_of(found)
    assert cells["first, all", "question"] == {"value": "80.00", "interval": "[79.75, 80.25]", "where": "layer 7"}
    assert cells["other, all", "last position"] == {"note": note}
    alone = output_figure("agreement").effects(OUTPUT_PROBE, absent)
    assert alone.rows == [{"model": "m", "task": "other", "cells": [{"note": note}]}]
