"""Figures of [flow]: what they hold, and that their files open offline."""

import re

import altair as alt
import polars as pl
import pytest

from support.frames import EDGES, FLOW_FIGURE, FLOW_PROBE, TASKS, drawn, interval
from vlmflow.figures import FlowChart, LensChart
from vlmflow.figures.numbers import signed
from vlmflow.figures.save import save
from vlmflow.figures.style import STROKES, strokes_of
from vlmflow.probes import KnockoutProbe, LensProbe
from vlmflow.probes.lens.measure import answer_words

LENS = LensProbe(kind="lens")


def test_every_value_is_in_the_chart(flow_summary):
    chart = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()
    (rows,) = chart["datasets"].values()
    assert len(rows) == len(flow_summary)
    assert {row["line"] for row in rows} == {"question ↛ last", "image ↛ last"}
    assert chart["facet"]["sort"] == ["Second (n = 7)", "First (n = 7)"]
    assert "n = 7 questions per task, on 5 images" in chart["title"]["subtitle"][0]


def test_a_line_looks_the_same_in_every_figure(flow_summary):
    both = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()
    one = FlowChart(chart="flow", probe="flow", edges=EDGES[1:])
    alone = drawn(flow_summary, one, FLOW_PROBE, "m", TASKS, columns=2).to_dict()

    def colors(chart):
        scale = chart["spec"]["layer"][2]["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    assert colors(alone).items() <= colors(both).items()
    strokes = STROKES.values()
    assert len({(s.dash, s.shape, s.color) for s in strokes}) >= 6


@pytest.mark.parametrize("ending", [".html", ".svg", ".png"])
@pytest.mark.parametrize("figure", [FLOW_FIGURE, LensChart(chart="lens", probe="tracking")])
def test_a_model_that_nothing_could_be_measured_on(flow_summary, lens_summary, tmp_path, figure, ending):
    summary, probe = (flow_summary, FLOW_PROBE) if isinstance(figure, FlowChart) else (lens_summary, LENS)
    save(drawn(summary, figure, probe, "none", TASKS, columns=3), tmp_path / f"chart{ending}")
    if ending == ".svg":
        assert "There was no question to analyse." in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize("ending", [".html", ".svg", ".png"])
def test_files(flow_summary, tmp_path, ending):
    chart = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3)
    path = tmp_path / f"chart{ending}"
    save(chart, path)
    first = path.read_bytes()
    save(chart, path)
    assert path.read_bytes() == first, "the same bytes from the same table"
    if ending == ".html":
        page = first.decode()
        assert not re.findall(r"""(?:src|href)=["']https?:""", page), "opens without a network"
    if ending == ".svg":
        assert first.startswith(b"<svg")
        assert b"Change in p(answer), %" in first


def test_another_ending_is_refused(flow_summary, tmp_path):
    with pytest.raises(ValueError, match=r"\.html, \.svg or \.png"):
        save(drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3), tmp_path / "chart.pdf")


def test_the_lens(lens_summary):
    figure = LensChart(chart="lens", probe="tracking")
    chart = drawn(lens_summary, figure, LENS, "m", TASKS, columns=1)
    assert isinstance(chart, alt.FacetChart)
    assert "without the final norm" in figure.caption(LensProbe(kind="lens", final_norm=False))


def test_numbers_have_a_true_minus_and_no_signed_zero():
    assert [signed(x) for x in (-3.21, 3.21, -0.04, 0.0)] == ["−3.2", "+3.2", "0.0", "0.0"]


def test_an_edge_that_could_be_measured_on_no_question():
    rows = KnockoutProbe.summary_table().frame(
        [{"task": "First", "edge": EDGES[0], "window": 3, "layer": 0} | interval(-10.0, multi_token_answers=2)]
    )
    words = FLOW_FIGURE.sentence(FLOW_PROBE, rows, "m")
    assert "image ↛ last could not be measured on any question." in words
    assert "question ↛ last lowers the answer's probability most in First" in words
    drawn(rows, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()


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


def test_a_model_with_nothing_left_to_analyse(flow_summary, tmp_path):
    chart = drawn(flow_summary.clear(), FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3)
    save(chart, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().startswith("<svg")


def test_a_line_without_a_stroke_of_its_own_keeps_its_spare_one():
    alone = strokes_of(["template -> last"])
    assert strokes_of(["question -> last", "template -> last"])[1:] == alone
    assert len(set(strokes_of(["a", "b", "c", "d", "e"]))) == 5


def test_from_which_layer_on_the_capital_leads(lens_summary):
    figure = LensChart(chart="lens", probe="p")

    def lens_words(summary):
        return figure.sentence(LENS, summary, "m")

    assert "more probable up to" not in lens_words(lens_summary)
    capital = pl.col("word") == "capitalised answer"
    leads = lens_summary.with_columns(mean=pl.when(capital & (pl.col("layer") > 0)).then(0.9).otherwise(0.3))
    assert "more probable up to the last layer from layer 1 on." in lens_words(leads)
    briefly = lens_summary.with_columns(mean=pl.when(capital & (pl.col("layer") == 0)).then(0.9).otherwise(0.3))
    assert "more probable up to" not in lens_words(briefly)
