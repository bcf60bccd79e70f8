"""Figures and the report: what they hold, that they open offline, and that text cannot become markup."""

import re

import altair as alt
import polars as pl
import pytest

from vlmflow import figures
from vlmflow.data.sampling import is_right
from vlmflow.figures.style import strokes_of
from vlmflow.probes import KnockoutProbe, LensProbe
from vlmflow.probes.lens.measure import answer_words
from vlmflow.report.html import signed
from vlmflow.report.page import _drawn, render
from vlmflow.report.tables import task_row, without_pictures
from vlmflow.study import FlowChart, LensChart, Study
from vlmflow.tables import ACCURACY, ANSWERS, COST, QUESTIONS, SKIPPED, TASK

EDGES = ["question -> last", "image -> last"]
TASKS = ["Second", "First"]
LENS = LensProbe(kind="lens")
PROBE = KnockoutProbe(kind="knockout", window=3, edges=EDGES)
FIGURE = FlowChart(chart="flow", probe="flow", edges=EDGES, title="What reaches the last position")


def interval(mean):
    return {"mean": mean, "low": mean - 1, "high": mean + 1, "questions": 7, "pictures": 5, "several": 2, "note": None}


@pytest.fixture
def flow():
    return KnockoutProbe.summary_table().frame(
        [
            {"model": "m", "task": task, "edge": edge, "window": 3, "layer": layer}
            | interval(-10.0 * layer * (edge == EDGES[0]))
            for task in TASKS
            for edge in EDGES
            for layer in range(4)
        ]
    )


@pytest.fixture
def lens():
    return LensProbe.summary_table().frame(
        [
            {"model": "m", "task": task, "word": word, "layer": layer} | interval(0.2 * (layer + shift))
            for task in TASKS
            for word, shift in (("capitalised answer", 0.5), ("lowercase answer", 1))
            for layer in range(-1, 3)
        ]
    )


def test_every_value_is_in_the_chart(flow):
    chart = figures.draw(flow, FIGURE, PROBE, "m", TASKS, columns=2).to_dict()
    (rows,) = chart["datasets"].values()
    assert len(rows) == len(flow)
    assert {row["line"] for row in rows} == {"question ↛ last", "image ↛ last"}
    assert chart["facet"]["sort"] == ["Second (n = 7)", "First (n = 7)"]
    assert "n = 7 questions a task, on 5 pictures" in chart["title"]["subtitle"][0]


def test_a_line_looks_the_same_in_every_figure(flow):
    both = figures.draw(flow, FIGURE, PROBE, "m", TASKS, columns=2).to_dict()
    one = FlowChart(chart="flow", probe="flow", edges=EDGES[1:])
    alone = figures.draw(flow, one, PROBE, "m", TASKS, columns=2).to_dict()

    def colors(chart):
        scale = chart["spec"]["layer"][2]["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    assert colors(alone).items() <= colors(both).items()
    strokes = figures.STROKES.values()
    assert len({(s.dash, s.shape, s.color) for s in strokes}) >= 6


@pytest.mark.parametrize("ending", [".html", ".svg", ".png"])
@pytest.mark.parametrize("figure", [FIGURE, LensChart(chart="lens", probe="tracking")])
def test_a_model_that_nothing_could_be_measured_on(flow, lens, tmp_path, figure, ending):
    summary, probe = (flow, PROBE) if isinstance(figure, FlowChart) else (lens, LENS)
    figures.save(figures.draw(summary, figure, probe, "none", TASKS, columns=3), tmp_path / f"chart{ending}")
    if ending == ".svg":
        assert "No question was left to analyse." in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize("ending", [".html", ".svg", ".png"])
def test_files(flow, tmp_path, ending):
    chart = figures.draw(flow, FIGURE, PROBE, "m", TASKS, columns=3)
    path = tmp_path / f"chart{ending}"
    figures.save(chart, path)
    first = path.read_bytes()
    figures.save(chart, path)
    assert path.read_bytes() == first, "the same bytes from the same table"
    if ending == ".html":
        page = first.decode()
        assert not re.findall(r"""(?:src|href)=["']https?:""", page), "opens without a network"
    if ending == ".svg":
        assert first.startswith(b"<svg")
        assert b"Change in p(answer), %" in first


def test_another_ending_is_refused(flow, tmp_path):
    with pytest.raises(ValueError, match=r"\.html, \.svg or \.png"):
        figures.save(figures.draw(flow, FIGURE, PROBE, "m", TASKS, columns=3), tmp_path / "chart.pdf")


def test_the_lens(lens):
    figure = LensChart(chart="lens", probe="tracking")
    chart = figures.draw(lens, figure, LENS, "m", TASKS, columns=1)
    assert isinstance(chart, alt.FacetChart)
    assert "without the final norm" in figures.caption(figure, LensProbe(kind="lens", final_norm=False))


def test_numbers_have_a_true_minus_and_no_signed_zero():
    assert [signed(x) for x in (-3.21, 3.21, -0.04, 0.0)] == ["−3.2", "+3.2", "0.0", "0.0"]


COST_ROW = {"jobs": 2, "unmeasured": 0, "questions": 10, "hours": 1.5, "gpus": 2, "gpu_hours": 3.0}
COST_ROW |= {"cpu_hours": 1.0, "memory": 900.0}


@pytest.mark.parametrize("asked", [0, 5])
def test_the_report(flow, lens, tmp_path, asked):
    evil = "<script>alert(1)</script>"
    study = Study.model_validate(
        {
            "study": "s",
            "dataset": {"source": "synthetic"},
            "tasks": {name: {"structural": "query", "semantic": "attr"} for name in TASKS},
            "models": {"m": {"path": "x", "note": evil}},
            "probes": {"flow": PROBE.model_dump(), "tracking": {"kind": "lens"}},
            "figures": {
                "f": FIGURE.model_dump() | {"title": evil},
                "g": {"chart": "lens", "probe": "tracking"},
            },
            "tables": {"t": {"table": "tasks", "title": evil}, "a": {"table": "accuracy", "model": "m"}},
        }
    )
    for name in ("f", "g"):
        (tmp_path / name).mkdir()
        for ending in ("", "-narrow"):
            (tmp_path / name / f"m{ending}.svg").write_text("<svg/>")
    question = dict.fromkeys(QUESTIONS.columns) | {
        "question_id": "1",
        "image_id": "1",
        "question": evil,
        "answer": "red",
        "structural": "query",
        "semantic": "attr",
        "detailed": "d",
        "objects": [],
    }
    group = {"structural": "query", "semantic": "attr", "kind": evil, "questions": 4, "pictures": 2}
    groups = pl.DataFrame([group | {"accuracy": 0.625, "low": 0.5, "high": 0.75}])
    reasons = [f"box ({i}, {i}, 5, 5) lies outside" for i in range(3)] + [evil]
    skipped = [
        {"question_id": "1", "task": None, "model": None, "stage": "tasks", "what": "", "reason": r} for r in reasons
    ]
    page = render(
        study,
        questions=QUESTIONS.frame([question]),
        task_questions={},
        accuracy=ACCURACY.frame(
            [
                {"model": "m", "task": "First", "asked": 10, "right": 9, "analysed": 7, "accuracy": 0.9},
                {"model": "m", "task": "Second", "asked": asked, "right": None, "analysed": asked, "accuracy": None},
            ]
        ),
        answers={("m", "First"): ANSWERS.frame([]), ("m", "Second"): ANSWERS.frame([])},
        skipped=SKIPPED.frame(skipped),
        cost=COST.frame([COST_ROW | {"model": "m", "step": evil}, COST_ROW | {"model": "m", "step": "flow"}]),
        summaries={"flow": flow, "tracking": lens},
        landmarks={},
        tables={"t": without_pictures([task_row("First", TASK.frame([]))]), "a": groups},
        figures=tmp_path,
        drawn={name: study.models_of(figure.probe) for name, figure in study.figures.items()},
        left_out=[
            {"model": "m", "task": "First", "probe": "flow", "why": evil},
            {"model": "m", "task": "Second", "why": evil},
        ],
    )
    assert "First, flow; Second, all" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "90.0 %" in page
    assert '<th>All</th><td class="n">4</td><td class="n">20</td><td class="n">6.00</td>' in page
    assert "62.50 %" in page
    assert f'<td>Second</td><td class="n">{asked}</td><td class="n">–</td><td class="n">–</td>' in page
    assert ("there is nothing to be right" in page) == (asked > 0)
    assert "−30.0 %" in page
    assert "costs most in" in page
    assert "image ↛ last costs less than 1 % of the answer" in page
    assert page.count("lies outside") == 1, "alike reasons are one row"
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)


def answered(task, pairs):
    """Answers to a task's questions: what the model said, and the reference."""
    rows = [
        {
            "question_id": f"{task}-{number}",
            "image_id": "1",
            "predicted": said,
            "answer": right,
            "correct": None if right == "a caption" else is_right(said, right),
            "probability": 0.5,
            "token_ids": [1],
        }
        for number, (said, right) in enumerate(pairs)
    ]
    asked = dict.fromkeys(QUESTIONS.columns, "x") | {"objects": [], "width": None, "height": None}
    texts = [asked | {"question_id": row["question_id"], "question": f"<b>{row['question_id']}?"} for row in rows]
    return ANSWERS.frame(rows), QUESTIONS.frame(texts)


@pytest.mark.parametrize("match", ["strict", "relaxed"])
def test_where_most_answers_are_wrong_the_report_shows_some(tmp_path, match):
    evil, told = "<script>alert(1)</script>", "look at its <code>template</code> and <code>instruction</code>"
    study = Study.model_validate(
        {
            "study": "s",
            "dataset": {"source": "synthetic"},
            "answers_match": match,
            "tasks": {name: {"structural": "query", "semantic": "attr"} for name in ("Bad", "Half", "Own", "Told")},
            "models": {"m": {"path": "x"}},
            "probes": {"tracking": {"kind": "lens"}},
        }
    )
    tasks = {
        "Bad": [("Red.", "red"), (evil, "red"), ("", "red"), ("y" * 5000, "red"), ("red", "red")],
        "Half": [("red", "red"), ("blue", "red")],
        "Own": [(f"wrong{number}", "x" * number) for number in range(1, 4)],
        "Told": [("a cup", "a caption"), ("", "a caption")],
    }
    made = {name: answered(name, pairs) for name, pairs in tasks.items()}

    def page(order):
        shared = pl.concat([made[name][1] for name in order if name != "Own"])
        # Another dataset may use the same ids.
        shared = pl.concat([shared, made["Own"][1].with_columns(question=pl.lit("of another dataset"))])
        return render(
            study,
            questions=shared,
            task_questions={"Own": made["Own"][1]},
            accuracy=ACCURACY.frame([]),
            answers={("m", name): made[name][0].sample(fraction=1, shuffle=True, seed=len(order[0])) for name in tasks},
            skipped=SKIPPED.frame([]),
            cost=COST.frame([]),
            summaries={},
            landmarks={},
            tables={},
            figures=tmp_path,
            drawn={},
        )

    shown = page(["Bad", "Half", "Told"])
    assert shown == page(["Told", "Half", "Bad"]), "whatever the order of the rows"
    assert "<script" not in shown
    text = re.sub(r"\s+", " ", shown)
    assert told in text
    assert "<b>m, Bad</b>: 4 of 5 wrong, of which 1 would be right if relaxed</td>" in text
    assert "<b>m, Own</b>: 3 of 3 wrong</td>" in text
    assert "m, Half" not in text
    assert "m, Told" not in text, "there is nothing to be right"
    assert len(re.findall(r"&lt;b&gt;Bad-\d\?</td>", shown)) == len(re.findall(r"&lt;b&gt;Own-\d\?</td>", shown)) == 3
    assert "of another dataset</td>" not in shown.split("Wrong answers")[1]
    assert "y" * 301 not in shown
    assert ("<code>answers_match: relaxed</code> counts" in text) == (match == "strict")
    assert ("final punctuation, quotes, Markdown, and article." in text) == (match == "relaxed")
    made["Bad"] = made["Own"] = made["Half"]
    assert "Wrong answers" not in page(["Half", "Told"])


@pytest.mark.parametrize(("size", "kind"), [(100, "svg+xml"), (2_000_000, "png")])
def test_a_large_drawing_is_shown_by_its_pixels(tmp_path, size, kind):
    for name in ("m.svg", "m-narrow.svg", "m.png"):
        (tmp_path / name).write_bytes(b"x" * (size if name == "m.svg" else 9))
    drawn = _drawn(tmp_path, "f", "m")
    for width in ("wide", "narrow"):
        assert drawn[width].startswith(f"data:image/{kind};base64,")


def test_an_edge_that_could_be_measured_on_no_question():
    from vlmflow.figures.findings import flow_words

    rows = KnockoutProbe.summary_table().frame(
        [{"model": "m", "task": "First", "edge": EDGES[0], "window": 3, "layer": 0} | interval(-10.0)]
    )
    words = flow_words(EDGES, rows)
    assert "image ↛ last could be measured on no question." in words
    assert "question ↛ last costs most in First" in words
    figures.draw(rows, FIGURE, PROBE, "m", TASKS, columns=2).to_dict()


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
        {"model": "m", "task": task, "word": word, "layer": layer} | interval(0.2 * (layer + shift / 8))
        for task in TASKS
        for shift, word in enumerate(list(words) if task == TASKS[0] else list(words)[:2])
        for layer in range(-1, 3)
    ]
    figure = LensChart(chart="lens", probe="p")
    chart = figures.draw(LensProbe.summary_table().frame(rows), figure, LensProbe(kind="lens"), "m", TASKS, columns=2)
    figures.save(chart, tmp_path / "lens.svg")
    (drawn,) = chart.to_dict()["datasets"].values()
    assert {(row["panel"].split(" (")[0], row["line"]) for row in drawn} == {
        *((TASKS[0], word) for word in words),
        *((TASKS[1], word) for word in list(words)[:2]),
    }
    assert all(f">{word}<" in (tmp_path / "lens.svg").read_text() for word in words)


def test_a_model_with_nothing_left_to_analyse(flow, tmp_path):
    chart = figures.draw(flow.clear(), FIGURE, PROBE, "m", TASKS, columns=3)
    figures.save(chart, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().startswith("<svg")


def test_a_line_without_a_stroke_of_its_own_keeps_its_spare_one():
    alone = strokes_of(["template -> last"])
    assert strokes_of(["question -> last", "template -> last"])[1:] == alone
    assert len(set(strokes_of(["a", "b", "c", "d", "e"]))) == 5


def test_from_which_layer_on_the_capital_leads(lens):
    from vlmflow.figures.findings import lens_words

    assert "ahead for good" not in lens_words(lens)
    capital = pl.col("word") == "capitalised answer"
    leads = lens.with_columns(mean=pl.when(capital & (pl.col("layer") > 0)).then(0.9).otherwise(0.3))
    assert "ahead for good from layer 1." in lens_words(leads)
    briefly = lens.with_columns(mean=pl.when(capital & (pl.col("layer") == 0)).then(0.9).otherwise(0.3))
    assert "ahead for good" not in lens_words(briefly)
