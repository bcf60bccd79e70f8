"""The report: what its page holds, that it opens offline, and that text cannot become markup."""

import re

import polars as pl
import pytest

from support.frames import FLOW_FIGURE, FLOW_PROBE, TASKS
from vlmflow.data.answers import is_correct
from vlmflow.report.figure_blocks import FigureFiles, _image
from vlmflow.report.methods import provenance
from vlmflow.report.page import Results, render
from vlmflow.report.tables import task_row, without_images
from vlmflow.study import Study
from vlmflow.tables import ACCURACY, ANSWERS, COST, MODEL, QUESTIONS, SKIPPED, TASK

COST_ROW = {"jobs": 2, "unmeasured": 0, "questions": 10, "kept": 7, "hours": 1.5, "gpus": 2, "gpu_hours": 3.0}
COST_ROW |= {"cpu_hours": 1.0, "memory": 900.0}


@pytest.mark.parametrize("asked", [0, 5])
def test_the_report_holds_results_and_reasons_and_no_markup_of_data(flow_summary, lens_summary, tmp_path, asked):
    evil = "<script>alert(1)</script>"
    study = Study.model_validate(
        {
            "study": "s",
            "dataset": {"source": "synthetic"},
            "tasks": {name: {"structural": "query", "semantic": "attr"} for name in TASKS},
            "models": {"m": {"path": "x", "note": evil}},
            "probes": {"flow": FLOW_PROBE.model_dump(), "tracking": {"kind": "lens"}},
            "figures": {
                "f": FLOW_FIGURE.model_dump() | {"title": evil},
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
    group = {"structural": "query", "semantic": "attr", "detailed": "", "kind": evil, "questions": 4, "images": 2}
    groups = pl.DataFrame([group | {"accuracy": 0.625, "low": 0.5, "high": 0.75}])
    reasons = [f"box ({i}, {i}, 5, 5) lies outside" for i in range(3)] + [evil]
    skipped = [
        {"question_id": "1", "task": None, "model": None, "stage": "tasks", "what": "", "reason": r} for r in reasons
    ]
    results = Results(
        questions=QUESTIONS.frame([question]),
        task_questions={},
        accuracy=ACCURACY.frame(
            [
                {"model": "m", "task": "First", "asked": 10, "correct": 9, "analysed": 7, "accuracy": 0.9},
                {"model": "m", "task": "Second", "asked": asked, "correct": None, "analysed": asked, "accuracy": None},
            ]
        ),
        answers={("m", "First"): ANSWERS.frame([]), ("m", "Second"): ANSWERS.frame([])},
        skipped=SKIPPED.frame(skipped),
        cost=COST.frame([COST_ROW | {"model": "m", "step": evil}, COST_ROW | {"model": "m", "step": "flow"}]),
        summaries={"flow": flow_summary, "tracking": lens_summary},
        curve_features={},
        tables={"t": without_images([task_row("First", TASK.frame([]))]), "a": groups},
        failures=[
            {"model": "m", "probe": "flow", "why": evil},
            {"model": "m", "table": "a", "why": evil},
            {"model": "n", "why": evil},
        ],
    )
    drawn = {name: study.models_of(figure.probe) for name, figure in study.figures.items()}
    page = render(study, results, FigureFiles(tmp_path, drawn), made_of(study, results))
    for model, missing in (("m", "flow; a"), ("n", "all")):
        reason = "&lt;script&gt;alert(1)&lt;/script&gt;"
        row = f'<td data-label="Model">{model}</td><td data-label="Reason">{reason}</td>'
        assert f'{row}<td data-label="Missing">{missing}</td>' in page
    assert re.findall("<script[^>]*>", page) == ["<script>"], "the page's own, and no other"
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert "90.0 %" in page
    cells = re.findall(r'<td class="n"[^>]*>([^<]*)</td>', page.split("<th>All</th>")[1])
    assert cells[:4] == ["4", "20", "14", "6.00"]
    assert "62.50 %" in page
    second = page.split('<td data-label="Task">Second</td>')[-1]
    assert re.findall(r'<td class="n"[^>]*>([^<]*)</td>', second)[:3] == [str(asked), "–", "–"]
    assert ("no answer is correct or wrong" in page) == (asked > 0)
    assert "−30.0 %" in page
    assert page.count("<picture>") == page.count("</picture>") == page.count("<figure ") > 0, (
        "a narrow screen gets its own"
    )
    assert page.count("lowers the probability of the model&#39;s answer most in") == 1, "on the first screen alone"
    assert page.count("lies outside") == 1, "alike reasons are one row"
    assert "and 2 alike" in page
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)


def made_of(study, results):
    """The facts of a study with one small model."""
    about = {"architecture": "A", "layers": 3, "width": 4, "parameters": 5_000_000, "dtype": "float32"}
    models = [about | {"model": "m", "content": "c" * 32, "revision": None, "versions": "Python 3"}]
    return provenance(
        study,
        questions=results.questions,
        tasks={"First": 1},
        accuracy=results.accuracy,
        summaries=results.summaries,
        models=MODEL.frame(models),
        skipped=results.skipped,
    )


def answered(task, pairs):
    """Answers to a task's questions: what the model said, and the reference."""
    rows = [
        {
            "task": task,
            "question_id": f"{task}-{number}",
            "image_id": "1",
            "predicted": said,
            "answer": right,
            "correct": None if right == "a caption" else is_correct(said, right),
            "probability": 0.5,
            "token_ids": [1],
            "tokens": ["x"],
            "token_probabilities": [0.5],
        }
        for number, (said, right) in enumerate(pairs)
    ]
    asked = dict.fromkeys(QUESTIONS.columns, "x") | {"objects": [], "width": None, "height": None}
    texts = [asked | {"question_id": row["question_id"], "question": f"<b>{row['question_id']}?"} for row in rows]
    return ANSWERS.frame(rows), QUESTIONS.frame(texts)


@pytest.mark.parametrize("match", ["strict", "relaxed"])
def test_the_report_shows_wrong_answers_where_most_are_wrong(tmp_path, match):
    evil, told = "<script>alert(1)</script>", "check its <code>template</code> and <code>instruction</code>"
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
        results = Results(
            questions=shared,
            task_questions={"Own": made["Own"][1]},
            accuracy=ACCURACY.frame([]),
            answers={("m", name): made[name][0].sample(fraction=1, shuffle=True, seed=len(order[0])) for name in tasks},
            skipped=SKIPPED.frame([]),
            cost=COST.frame([]),
        )
        return render(study, results, FigureFiles(tmp_path, {}), made_of(study, results))

    shown = page(["Bad", "Half", "Told"])
    assert shown == page(["Told", "Half", "Bad"]), "whatever the order of the rows"
    assert evil not in shown
    text = re.sub(r"\s+", " ", shown)
    assert told in text
    assert "m to Bad (4 of 5; 1 would be correct with <code>answers_match: relaxed</code>)" in text
    assert "m to Own (3 of 3)" in text
    assert "m to Half" not in text
    assert "m to Told" not in text, "there is no correct answer"
    beside = shown.split("Answers beside the reference")[1]
    for name, count in (("Bad", 3), ("Own", 3), ("Half", 2), ("Told", 2)):
        assert len(re.findall(rf"&lt;b&gt;{name}-\d\?</td>", beside)) == count, "at most three, of each task"
    assert "of another dataset</td>" not in beside
    assert "y" * 301 not in shown
    assert ("<code>answers_match: relaxed</code> counts" in text) == (match == "strict")
    assert ("final punctuation, quotes, Markdown, and article." in text) == (match == "relaxed")
    made["Bad"] = made["Own"] = made["Half"]
    assert "Most answers are wrong" not in page(["Half", "Told"])


@pytest.mark.parametrize(("size", "kind"), [(100, "svg+xml"), (2_000_000, "png")])
def test_a_large_drawing_is_shown_as_pixels(tmp_path, size, kind):
    for name in ("m.svg", "m-narrow.svg", "m.png"):
        (tmp_path / name).write_bytes(b"x" * (size if name == "m.svg" else 9))
    for first in (True, False):
        image = _image(tmp_path, "f/m", "m", first=first)
        assert image["kind"] == f"image/{kind}"
        for width in ("wide", "narrow"):
            assert image[width].startswith(f"data:image/{kind};base64,") == first, "the others are compressed"
