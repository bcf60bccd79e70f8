"""The figures of the appendices: what stands in them, and what is said of them."""

import itertools

import polars as pl
import pytest

from support.frames import data_of, drawn, interval
from vlmflow.edges import ALL_EDGES
from vlmflow.figures import AtlasChart, FlowChart, NormsChart, PruningChart, WindowsChart, WordsChart
from vlmflow.figures.save import save
from vlmflow.figures.style import STROKES, strokes_of
from vlmflow.probes import KnockoutProbe, NormsProbe, PruningProbe, WordsProbe
from vlmflow.probes.lens.measure import answer_words
from vlmflow.probes.norms.bins import BINS

TASKS = ["First", "Second"]
EDGES = ["question -> last", "image -> question", "true option -> last"]
WINDOWS = [1, 3, 5]


@pytest.fixture
def knockout():
    """The task First has all edges, Second no options; at layer 2 the first edge costs much, the last one gains."""
    rows = [
        {"task": task, "edge": edge, "window": window, "quantity": "change", "layer": layer, "multi_token_answers": 3}
        | interval({"question -> last": -30.0, "true option -> last": 20.0}.get(edge, -0.5) * window * (layer == 2))
        for task, edge, window, layer in itertools.product(TASKS, EDGES, WINDOWS, range(4))
        if (task, edge) != ("Second", "true option -> last")
    ]
    absent = {"mean": None, "low": None, "high": None, "note": "it was built without options", "questions": 0}
    absent |= {"task": "Second", "edge": EDGES[2], "window": 0, "quantity": "", "layer": 0, "multi_token_answers": 0}
    rows.append(interval(0) | absent)
    return KnockoutProbe.summary_table().frame(rows)


PROBE = KnockoutProbe(kind="knockout", window=WINDOWS, edges=EDGES)
ATLAS = AtlasChart(chart="atlas", probe="p", window=3)


def test_windows_have_a_panel_per_window_and_task(knockout):
    figure = WindowsChart(chart="windows", probe="p", edges=EDGES)
    chart = drawn(knockout, figure, PROBE, "m", TASKS, columns=3)
    panels = [f"{task}, k = {window} (n = 7)" for task in TASKS for window in WINDOWS]
    assert chart.to_dict()["facet"]["sort"] == panels
    assert set(data_of(chart)["panel"]) == set(panels)
    assert "The window of each panel has k layers." in figure.caption(PROBE)


@pytest.mark.parametrize(("columns", "scale"), [(3, False), (4, True)])
def test_there_is_no_axis_under_a_missing_panel(knockout, columns, scale):
    figure = WindowsChart(chart="windows", probe="p", edges=EDGES)
    chart = drawn(knockout, figure, PROBE, "m", TASKS, columns=columns).to_dict()  # six panels
    assert ("resolve" in chart) == scale


def test_a_figure_shows_its_window(knockout):
    for window in WINDOWS:
        figure = FlowChart(chart="flow", probe="p", edges=EDGES, window=window)
        shown = data_of(drawn(knockout, figure, PROBE, "m", TASKS, columns=3))
        assert shown["mean"].min() == -30.0 * window
        assert f"Window: {window} layer" in figure.caption(PROBE)


def test_the_panel_of_the_last_sub_word_counts_answers_of_several(knockout):
    probe = KnockoutProbe(kind="knockout", window=3, edges=EDGES, token="last")
    figure = FlowChart(chart="flow", probe="p", edges=EDGES)
    chart = drawn(knockout, figure, probe, "m", TASKS, columns=3).to_dict()
    assert chart["facet"]["sort"] == [f"{task} (n = 7, 3 with several sub-words)" for task in TASKS]
    assert "last sub-word, given the earlier sub-words" in figure.caption(probe)


def test_the_atlas_marks_cells_that_differ_from_0(knockout):
    chart = drawn(knockout, ATLAS, PROBE, "m", TASKS, columns=2)
    rows = data_of(chart)
    assert set(rows["window"]) == {3}
    assert "params" not in chart.to_dict()
    marks = {(row["line"], row["layer"]): row["mark"] for row in rows.to_dicts()}
    assert marks["question ↛ last", 2] == "•"
    assert marks["true option ↛ last", 2] == "+"
    assert marks["question ↛ last", 1] == marks["image ↛ question", 1] == "", "the interval holds 0"
    edges = chart.to_dict()["spec"]["layer"][0]["encoding"]["y"]["sort"]
    assert edges == ["image ↛ question", "question ↛ last", "true option ↛ last"], "in the order of the prompt"
    alone = knockout.with_columns(images=pl.lit(1, dtype=pl.Int32))
    assert set(data_of(drawn(alone, ATLAS, PROBE, "m", TASKS, columns=2))["mark"]) == {""}, "no interval of one"
    assert "every segment of the prompt" not in ATLAS.caption(PROBE)
    whole = KnockoutProbe(kind="knockout", window=3, edges="all")
    assert "The edges lead from every segment of the prompt to every later one." in ATLAS.caption(whole)
    screen = drawn(knockout, ATLAS, PROBE, "m", TASKS, columns=2, interactive=True)
    assert set(data_of(screen)["window"]) == set(WINDOWS)
    (chosen,) = screen.to_dict()["params"]
    assert (chosen["value"], chosen["bind"]["options"]) == (3, WINDOWS)


def test_the_sentence_of_the_atlas_ranks_the_edges(knockout):
    words = ATLAS.sentence(PROBE, knockout, "m")
    assert (
        "edges, knocking out question ↛ last lowers the probability of the model's answer most (−90.0 % [−91.0" in words
    )
    assert "around layer 2 (3 layers), First)." in words
    assert "Ranks of the paper's edges by this effect: question ↛ last 1, image ↛ question 2." in words
    other = knockout.filter(pl.col("edge") == "true option -> last").with_columns(window=pl.lit(1, dtype=pl.Int32))
    words = ATLAS.model_copy(update={"window": 1}).sentence(PROBE, other, "m")
    assert "places" not in words
    assert "(1 layer)" in words


def test_edges_that_do_not_apply_have_their_reason_in_the_table(knockout):
    figure = FlowChart(chart="flow", probe="p", edges=EDGES, window=5)
    found = figure.effects(PROBE, knockout)
    cells = {row["task"]: dict(zip(found.lines, row["cells"], strict=True)) for row in found.rows}
    assert cells["Second"]["true option ↛ last"] == {"note": "it was built without options"}
    assert cells["First"]["question ↛ last"] == {
        "value": "−150.0 %",
        "interval": "[−151.0, −149.0]",
        "where": "layer 2",
    }
    nothing = figure.effects(PROBE, knockout.clear())
    assert nothing.rows == []


WORDS = WordsProbe(kind="words", modules=["attention", "mlp"], edges=["image -> question"], window=3)


def test_words_have_a_line_per_intervention():
    summary = WordsProbe.summary_table().frame(
        [
            {"task": task, "intervention": name, "window": 3, "layer": layer}
            | interval(0.25 * layer + 0.1 * place, 0.05)
            for task in TASKS
            for place, name in enumerate(("attention", "mlp", "image -> question"))
            for layer in range(3)
        ]
    )
    figure = WordsChart(chart="words", probe="p")
    chart = drawn(summary, figure, WORDS, "m", TASKS, columns=2)
    assert set(data_of(chart)["line"]) == {"attention", "MLP", "image ↛ question"}
    assert "Jaccard similarity" in str(chart.to_dict())
    assert "Layer (edges: middle, modules: first of the window)" in str(chart.to_dict())
    text = figure.caption(WORDS)
    assert (
        "a module's output is set to zero at the question's positions in 3 layers from each layer on or the edge"
        in text
    )
    assert "position by position" in text
    assert "as one set for the whole question" in figure.caption(WORDS.model_copy(update={"pooled": True}))
    assert "MLP: similarity falls to 0.10 [0.05, 0.15] at layer 0" in figure.sentence(WORDS, summary, "m")


def test_norms_are_a_distribution_of_related_and_other_patches():
    probe = NormsProbe(kind="norms", above=10.0)
    sinks = [{"task": task, "patches": "sinks", "norm": 10.0} | interval(3.3, 0.2) for task in TASKS]
    summary = NormsProbe.summary_table().frame(
        sinks
        + [
            {"task": task, "patches": kind, "norm": float(norm)}
            | interval(share, 0.1)
            for task in TASKS
            for kind in ("all", "related", "other")
            for norm, share in zip(BINS[60:68], (0, 50, 45, 4, 0, 0, 1, 0), strict=True)
        ]
    )  # fmt: skip
    figure = NormsChart(chart="norms", probe="p", threshold=10.0)
    chart = drawn(summary, figure, probe, "m", TASKS, columns=2)
    rows = data_of(chart)
    assert set(rows["line"]) == {"related patches", "other patches"}, "two parts, without their sum"
    assert rows["norm"].min() == BINS[61]
    assert rows["norm"].max() == BINS[66]
    layers = chart.to_dict()["spec"]["layer"]
    assert len(layers) == 3
    assert layers[2]["encoding"]["x"]["datum"] == 10.0
    assert "symlog" in str(layers)
    words = figure.sentence(probe, summary, "m")
    assert "Most patches are sinks in First: 3.3 [3.1, 3.5] per image, with a norm above 10." in words
    # A task without boxes has all patches as one line, beside those that have two.
    mixed = summary.filter((pl.col("task") == "First") | (pl.col("patches") == "all"))
    points = data_of(drawn(mixed, figure, probe, "m", TASKS, columns=2))
    lines = {panel[0]: set(rows["line"]) for panel, rows in points.group_by("panel")}
    assert lines["First (n = 7)"] == {"related patches", "other patches"}
    assert lines["Second (n = 7)"] == {"all patches"}
    bare = figure.model_copy(update={"threshold": None})
    without = NormsProbe(kind="norms")
    for given, layers in ((probe, 3), (without, 2)):
        assert len(drawn(summary, bare, given, "m", TASKS, columns=2).to_dict()["spec"]["layer"]) == layers


def test_pruning_has_a_line_per_quantity():
    probe = PruningProbe(kind="pruning", layers_dropped=[0, 5, 10], timed=20)
    summary = PruningProbe.summary_table().frame(
        [
            {"task": task, "quantity": quantity, "layers_dropped": last} | interval(value)
            for task in TASKS
            for quantity, values in (("accuracy", (90, 89.5, 40)), ("work", (100, 70, 40)), ("time", (100, 75, 50)))
            for last, value in zip((0, 5, 10), values, strict=True)
        ]
    )
    figure = PruningChart(chart="pruning", probe="p")
    chart = drawn(summary, figure, probe, "m", TASKS, columns=2)
    assert len(set(data_of(chart)["line"])) == 3
    assert "Time: the fastest of three runs, for up to 20 questions per task." in figure.caption(probe)
    assert "Time:" not in figure.caption(probe.model_copy(update={"timed": 0}))
    assert "percentage of all questions that were asked" in figure.caption(probe)
    assert "percentage of up to 60 questions that" in figure.caption(probe.model_copy(update={"questions": 60}))
    words = figure.sentence(probe, summary, "m")
    assert "correct answers: 5 in First (work 70 %, time 75 %) to 5 in Second (work" in words
    described = (pl.col("task") == "First") & (pl.col("quantity") == "accuracy")
    words = figure.sentence(probe, summary.filter(~described), "m")
    assert "correct answers: 5 in Second (work 70 %, time 75 %). First: these questions have no correct answer" in words
    words = figure.sentence(probe, summary.filter(pl.col("quantity") == "work"), "m")
    assert words == "m: First, Second: these questions have no correct answer, so accuracy is not defined."
    assert len(set(data_of(drawn(summary.filter(~described), figure, probe, "m", TASKS, columns=2))["line"])) == 3


def test_a_panel_names_lines_of_fewer_questions(knockout):
    fewer = pl.col("edge") == "image -> question"
    summary = knockout.with_columns(
        questions=pl.when(fewer & (pl.col("task") == "First")).then(2).otherwise("questions")
    )
    figure = FlowChart(chart="flow", probe="p", edges=EDGES[:2], window=3)
    chart = drawn(KnockoutProbe.summary_table().frame(summary), figure, PROBE, "m", TASKS, columns=2).to_dict()
    assert chart["facet"]["sort"] == ["First (n = 2 to 7)", "Second (n = 7)"]


def test_every_edge_has_one_stroke_and_no_two_in_a_figure_are_equal():
    """Of the edges that the paper draws into one figure, no two look alike; and each looks alike in every figure."""
    parts = [
        "true option",
        "false option",
        "options",
        "objects",
        "question without options",
        "question without objects",
    ]
    to_last, to_parts = [f"{part} -> last" for part in parts], [f"image -> {part}" for part in parts]
    sinks = [edge for edge in STROKES if "sinks" in edge]
    within = ["question without options -> true option", "question without options -> false option"]
    within.append("question without objects -> objects")
    captions = ["caption -> last", "question -> last", "caption -> question"]
    words = list(answer_words("left", "right"))
    for figure in (to_last, to_parts, sinks, within, captions, words):
        strokes = strokes_of(figure)
        assert len({stroke.color for stroke in strokes}) == len(figure)
        assert len({(stroke.dash, stroke.shape) for stroke in strokes}) == len(figure), "told apart without colour too"
        assert [strokes_of([edge])[0] for edge in figure] == strokes


@pytest.mark.parametrize("ending", [".html", ".svg", ".png"])
def test_an_atlas_of_all_edges_can_be_written(tmp_path, ending):
    rows = [
        {"task": "First", "edge": edge, "window": window, "quantity": "change", "layer": layer}
        | interval(-float(layer), multi_token_answers=0)
        for edge in ALL_EDGES
        for window in (1, 3)
        for layer in range(40)
    ]
    probe = KnockoutProbe(kind="knockout", window=[1, 3], edges="all")
    chart = drawn(
        KnockoutProbe.summary_table().frame(rows), ATLAS, probe, "m", ["First"], 1, interactive=ending == ".html"
    )
    save(chart, tmp_path / f"atlas{ending}")
    assert (tmp_path / f"atlas{ending}").stat().st_size > 10_000
