"""The figure of the lens on the image's tokens: what stands in it, and what is said of it."""

import pytest

from support.frames import axes_of, cells_of, data_of, drawn, legend_of, panels_of
from support.image_frames import LENS_PROBE, TASKS, lens_figure

LENS_UNITS = {
    "names": "Patches with the name, %",
    "entropy": "Entropy, bits",
    "words": "Tokens that are words, %",
    "agreement": "Same most probable word, %",
    "difference": "Patches with the name, percentage points",
}


@pytest.mark.parametrize(
    ("quantity", "lines"),
    [
        (
            "names",
            [
                "object's name, on its patches",
                "object's name, on other patches",
                "another name, on its patches",
            ],
        ),
        ("entropy", ["correct instruction", "wrong instruction", "no instruction"]),
        ("words", ["correct instruction", "wrong instruction", "no instruction"]),
        ("agreement", ["wrong instruction", "no instruction"]),
        ("difference", ["wrong instruction", "no instruction"]),
    ],
)
def test_the_visual_lens_has_a_panel_per_task_and_position(visual_lens_summary, quantity, lines):
    chart = drawn(visual_lens_summary, lens_figure(quantity), LENS_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [
        f"{task}, instruction {place} (n = 7)" for task in TASKS for place in ("after", "before")
    ]
    assert legend_of(chart) == lines
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {LENS_UNITS[quantity]})
    rows = data_of(chart)
    assert len(rows) == 4 * len(lines) * 4
    height = {"names": 31 * 1.2 + 1, "entropy": 7 * 1.2 + 1, "words": 51 * 1.2 + 1, "agreement": 81 * 1.2 + 1}
    assert rows["mean"].max() == pytest.approx(height.get(quantity, -1 * 0.9 + 1))


def test_the_sentence_and_table_of_the_visual_lens_name_the_largest_values(visual_lens_summary):
    def said(quantity):
        return lens_figure(quantity).sentence(LENS_PROBE, visual_lens_summary, "m")

    assert said("names") == (
        "m: at most 38.2 [37.7, 38.7] % of an object's patches decode to its name or an attribute (other, after layer "
        "2), compared with 16.6 % on other patches and 7.0 % for another question's object in this layer."
    )
    assert said("entropy") == (
        "m: entropy: from 5.4 [4.9, 5.9] bits (first, correct instruction after the image, after layer −1) to 9.4 "
        "[8.9, 9.9] bits (other, correct instruction before the image, after layer 2)."
    )
    assert said("words").startswith("m: tokens that are words: from 45.0 [44.5, 45.5] % (first, ")
    assert "to 98.2 [97.7, 98.7] % (other, wrong instruction before the image, after layer 2)" in said("agreement")
    assert said("difference") == (
        "m: largest difference from the correct instruction, in percentage points of an object's patches: wrong "
        "instruction after the image −2.4 [−2.9, −1.9] (after layer 2, first); wrong instruction before the image "
        "−1.4 [−1.9, −0.9] (after layer 2, first); no instruction after the image −2.4 [−2.9, −1.9] (after layer 2, "
        "first); no instruction before the image −1.4 [−1.9, −0.9] (after layer 2, first)."
    )
    cells = cells_of(lens_figure("names").effects(LENS_PROBE, visual_lens_summary))
    assert cells["other, instruction after", "another name, on its patches"] == {
        "value": "6.0",
        "interval": "[5.5, 6.5]",
        "where": "layer 2",
    }
    cells = cells_of(lens_figure("agreement").effects(LENS_PROBE, visual_lens_summary))
    assert set(cells) == {
        (f"{task}, instruction {place}", f"{which} instruction")
        for task in TASKS
        for place in ("after", "before")
        for which in ("wrong", "no")
    }
