"""The figure of the lens at the last position: what stands in it, and what is said of it."""

import altair as alt
import polars as pl

from support.frames import TASKS, drawn, interval
from vlmflow.figures import LensChart
from vlmflow.figures.save import save
from vlmflow.probes import LensProbe
from vlmflow.probes.lens.measure import answer_words

LENS = LensProbe(kind="lens")


def test_the_caption_names_a_lens_without_the_final_norm(lens_summary):
    figure = LensChart(chart="lens", probe="tracking")
    chart = drawn(lens_summary, figure, LENS, "m", TASKS, columns=1)
    assert isinstance(chart, alt.FacetChart)
    assert "without the final norm" in figure.caption(LensProbe(kind="lens", final_norm=False))


def test_both_spellings_of_the_false_option_are_lines_of_the_lens(tmp_path):
    words = answer_words("light blue", "Dark red")
    assert words == {
        "capitalised answer": "Light blue",
        "lowercase answer": "light blue",
        "capitalised false option": "Dark red",
        "false option": "dark red",
    }
    assert list(answer_words("yes", None)) == ["capitalised answer", "lowercase answer"]
    rows = [
        {"task": task, "word": word, "layer": layer} | interval(0.2 * (layer + shift / 8), multi_token_answers=2)
        for task in TASKS
        for shift, word in enumerate(list(words) if task == TASKS[0] else list(words)[:2])
        for layer in range(-1, 3)
    ]
    figure = LensChart(chart="lens", probe="p")
    chart = drawn(LensProbe.summary_table().frame(rows), figure, LensProbe(kind="lens"), "m", TASKS, columns=2)
    save(chart, tmp_path / "lens.svg")
    (points,) = chart.to_dict()["datasets"].values()
    assert {(row["panel"].split(" (")[0], row["line"]) for row in points} == {
        *((TASKS[0], word) for word in words),
        *((TASKS[1], word) for word in list(words)[:2]),
    }
    assert all(f">{word}<" in (tmp_path / "lens.svg").read_text() for word in words)


def test_the_sentence_names_the_layer_from_which_the_capital_leads(lens_summary):
    figure = LensChart(chart="lens", probe="p")

    def lens_words(summary):
        return figure.sentence(LENS, summary, "m")

    assert "more probable up to" not in lens_words(lens_summary)
    capital = pl.col("word") == "capitalised answer"
    leads = lens_summary.with_columns(mean=pl.when(capital & (pl.col("layer") > 0)).then(0.9).otherwise(0.3))
    assert "more probable up to the last layer from layer 1 on." in lens_words(leads)
    briefly = lens_summary.with_columns(mean=pl.when(capital & (pl.col("layer") == 0)).then(0.9).otherwise(0.3))
    assert "more probable up to" not in lens_words(briefly)
