"""The figure of similarity: what stands in it, and what is said of it."""

import polars as pl
import pytest

from support.frames import axes_of, cells_of, data_of, drawn, legend_of, nothing, panels_of, specified
from support.image_frames import BY_PAIR, BY_PROMPT, LAYERS, PROMPTS, SIMILARITY_PROBE, TASKS, WITH_PHASES, similar
from vlmflow.figures import SimilarityChart
from vlmflow.probes import SimilarityProbe
from vlmflow.probes.similarity import PAIRS


def test_similarity_has_a_panel_per_task_and_prompt(similarity_summary):
    chart = drawn(similarity_summary, BY_PAIR, SIMILARITY_PROBE, "m", TASKS, columns=3)
    panels = [f"{task}, {prompt} (n = 7)" for task in TASKS for prompt in PROMPTS]
    assert panels_of(chart) == panels, "by the user's own names, in the user's order"
    assert set(legend_of(chart)) == set(PAIRS)
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {"Mean cosine similarity"})
    rows = data_of(chart)
    assert len(rows) == len(panels) * len(PAIRS) * len(LAYERS)
    assert "part" not in rows.columns, "no bands"
    one = rows.filter((pl.col("panel") == panels[0]) & (pl.col("line") == PAIRS[1]) & (pl.col("x") == -1))
    assert one["mean"].item() == pytest.approx(similar("other", "question", PAIRS[1], "corrected", -1))
    assert specified(chart)["title"]["text"] == "Contextualisation"
    assert specified(chart)["title"]["subtitle"] == ["m; n = 7 questions per task, on 5 images"]


def test_a_prompt_that_all_panels_share_is_not_repeated(similarity_summary):
    alone = similarity_summary.filter(pl.col("prompt") == "all")
    chart = drawn(alone, BY_PAIR, SIMILARITY_PROBE, "m", TASKS[::-1], columns=3)
    assert panels_of(chart) == ["first (n = 7)", "other (n = 7)"]


def test_similarity_by_prompt_has_a_panel_per_task_and_pair(similarity_summary):
    chart = drawn(similarity_summary, BY_PROMPT, SIMILARITY_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [f"{task}, {pair} (n = 7)" for task in TASKS for pair in PAIRS]
    assert set(legend_of(chart)) == set(PROMPTS), "as the user calls them: all, and not all patches"
    assert set(data_of(chart)["line"]) == set(PROMPTS)


@pytest.mark.parametrize("quantity", ["raw", "unrelated"])
def test_similarity_may_be_uncorrected(similarity_summary, quantity):
    figure = SimilarityChart(chart="similarity", probe="p", quantity=quantity)
    rows = data_of(drawn(similarity_summary, figure, SIMILARITY_PROBE, "m", TASKS, columns=3))
    assert rows["mean"].max() == pytest.approx(similar("first", "all", PAIRS[0], quantity, 5))


def test_phases_are_bands_behind_the_lines(similarity_summary, phase_table):
    more = {"curve_features": pl.concat([phase_table, phase_table.with_columns(model=pl.lit("another"))])}
    chart = drawn(similarity_summary, WITH_PHASES, SIMILARITY_PROBE, "m", TASKS, 3, **more)
    rows = data_of(chart)
    bands = rows.filter(pl.col("part") == "band")
    places = {
        panel: bands.filter(pl.col("panel") == panel).select("label", "start", "end", "low", "high").rows()
        for panel in panels_of(chart)
    }
    assert places == {
        "other, question (n = 7)": [
            ("I", -1.5, 1.5, None, None),
            ("II", 1.5, 3.5, 0.5, 2.5),
            ("III", 3.5, 6.5, 2.5, 4.5),
            ("IV", 6.5, 8.5, 5.5, 7.5),
        ],
        "other, all (n = 7)": [("I", -1.5, 8.5, None, None)],
        "first, question (n = 7)": [("I", -1.5, 2.5, None, None), ("II", 2.5, 8.5, 1.5, 3.5)],
        "first, all (n = 7)": [],
    }
    assert len(rows.filter(pl.col("part") == "line")) == len(TASKS) * len(PROMPTS) * len(PAIRS) * len(LAYERS)
    spans = [
        (layer["encoding"]["x"]["field"], layer["encoding"]["x2"]["field"])
        for layer in specified(chart)["spec"]["layer"]
        if layer["mark"]["type"] == "rect"
    ]
    assert spans == [("start", "end"), ("low", "high")]
    labels = [layer for layer in specified(chart)["spec"]["layer"] if layer["mark"]["type"] == "text"]
    assert [layer["encoding"]["text"]["field"] for layer in labels] == ["label"]


def test_the_sentence_and_table_of_similarity_name_the_largest_values(similarity_summary, phase_table):
    words = BY_PAIR.sentence(SIMILARITY_PROBE, similarity_summary, "m", phase_table)
    assert words == "m: image and text are most similar in first, prompt all: 0.42 [0.37, 0.47] after layer 5."
    words = WITH_PHASES.sentence(SIMILARITY_PROBE, similarity_summary, "m", phase_table)
    assert (
        "The curves support 1 to 4 phases, the paper's four in 1 of 3 cases (in 55 to 91 % of the resamples); the "
        "later ones begin after layers 2 to 7." in words
    )
    two = phase_table.filter(task="first")
    words = WITH_PHASES.sentence(SIMILARITY_PROBE, similarity_summary, "m", two)
    assert "The curves support 2 phases, not the paper's four (in 55 % of the resamples); the later one" in words
    assert "begins after layer 3 [2, 4]." in words
    words = BY_PROMPT.sentence(SIMILARITY_PROBE, similarity_summary, "m", None)
    assert "between prompts, the similarity of image and text differs by at most 0.03 (other, after layer 3)." in words
    cells = cells_of(BY_PAIR.effects(SIMILARITY_PROBE, similarity_summary))
    assert len(cells) == len(TASKS) * len(PROMPTS) * len(PAIRS)
    assert cells["first, all", "image and text"] == {"value": "0.42", "interval": "[0.37, 0.47]", "where": "layer 5"}
    cells = cells_of(BY_PROMPT.effects(SIMILARITY_PROBE, similarity_summary))
    assert cells["other, within text", "all"] == {"value": "0.07", "interval": "[0.02, 0.12]", "where": "layer 5"}


def test_numbers_below_zero_have_a_true_minus(similarity_summary):
    lower = similarity_summary.with_columns(pl.col("mean", "low", "high") - 1)
    words = BY_PAIR.sentence(SIMILARITY_PROBE, lower, "m")
    assert "−0.58 [−0.63, −0.53]" in words
    cells = cells_of(BY_PAIR.effects(SIMILARITY_PROBE, lower))
    assert cells["first, all", "image and text"]["interval"] == "[−0.63, −0.53]"


@pytest.mark.parametrize("absent", [{"task": "none"}, {"model": "n", "task": "other"}])
def test_a_table_has_the_reason_where_nothing_was_measured(similarity_summary, absent):
    """A row without prompt, pair and quantity leaves the others as they are, and tells the reason in every cell."""
    alone = similarity_summary.filter(pl.col("prompt") == "all")
    row = nothing(SimilarityProbe.summary_table(), note="the image is missing") | absent
    found = BY_PAIR.effects(SIMILARITY_PROBE, pl.concat([alone, SimilarityProbe.summary_table().frame([row])]))
    assert [(each["model"], each["task"]) for each in found.rows] == [
        ("m", "other"),
        ("m", "first"),
        (absent.get("model", "m"), absent["task"]),
    ]
    assert found.lines == list(PAIRS)
    assert found.rows[0]["cells"][0]["value"] == "0.32"
    assert found.rows[2]["cells"] == [{"note": "the image is missing"}] * 3
