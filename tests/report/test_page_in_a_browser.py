"""The report in a browser: nothing is cut or overlaps at any width with long names; menus, claims, keyboard, print."""

import shutil

import polars as pl
import pytest
from playwright.sync_api import expect

from support.browser import WIDTHS, violations
from support.crowded import EDGES, LAYERS, TASKS, crowded_summary
from vlmflow.analysis.stages import STAGES
from vlmflow.claims.judge import CLAIMS
from vlmflow.figures import FigureData, Layout
from vlmflow.figures.drawing import draw
from vlmflow.figures.flow_diagram import draw_flow_diagram
from vlmflow.figures.save import save
from vlmflow.figures.together import draw_together
from vlmflow.report.figure_blocks import FigureFiles
from vlmflow.report.methods import provenance
from vlmflow.report.page import Results, render
from vlmflow.study import Study
from vlmflow.tables import ACCURACY, ANSWERS, COST, MODEL, QUESTIONS, SKIPPED

MODELS = ["llava-onevision-qwen2-72b-instruct-chat", "qwen2.5-vl-7b", "m"]
SINGLE = [edge for edge in EDGES if "+" not in edge]


def crowded_study():
    flow = {"chart": "flow", "probe": "flow", "edges": SINGLE, "title": "What reaches the answer position in the end"}
    return Study.model_validate(
        {
            "study": "a-study-of-a-long-name-that-goes-on",
            "dataset": {"source": "synthetic"},
            "tasks": {name: {"structural": "query", "semantic": "attr"} for name in TASKS},
            "models": {name: {"path": "x/y", "note": "A remark. " * 9} for name in MODELS},
            "probes": {"flow": {"kind": "knockout", "window": 3, "edges": SINGLE}, "tracking": {"kind": "lens"}},
            "figures": {
                "change": flow,
                "margin": flow | {"measure": "margin", "title": "The same, by the margin"},
                "words": {"chart": "lens", "probe": "tracking"},
            },
            "claims": {name: {} for name in ("F03", "F04", "F05", "F06", "F07", "F08")},
        }
    )


def claims_of(study):
    rows = []
    for number, name in enumerate(study.claims):
        claim = study.claims[name].declared(name)
        about = {"claim": name, "paper": claim.paper, "source": claim.source, "text": claim.text}
        for model in MODELS:
            verdict = ("supported", "contradicted", "undecided", "does not apply")[(number + len(model)) % 4]
            row = about | {"printed": claim.printed, "model": model, "second_model": None, "scope": TASKS[0]}
            row |= {"test": "lowest of flow, edge other patches, as many as related -> question", "rule": "below -5"}
            row |= dict.fromkeys(("estimate", "low", "high", "p", "p_false", "p_true"), -12.345678)
            rows.append(
                row | {"questions": 9, "images": 9, "verdict": verdict, "reason": None, "claim_verdict": verdict}
            )
    return CLAIMS.frame(rows)


def stages_of():
    rows = []
    for model in MODELS:
        for edge in SINGLE:
            for number, layer in ((1, 2), (2, 9)):
                place = {"layer": layer, "layer_low": layer - 1, "layer_high": layer + 1, "layers": LAYERS, "window": 3}
                place |= {"first_layer": layer - 1, "last_layer": layer + 1, "stage": number}
                ends = {"effect": -30.0, "low": -33.0, "high": -28.0, "tasks": TASKS, "questions": 9, "images": 9}
                rows.append({"model": model, "probe": "flow", "edge": edge, "reason": None} | place | ends)
    return STAGES.frame(rows)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of three models, twelve tasks and nine edges, whose names are long."""
    results = tmp_path_factory.mktemp("results")
    folder = results / "figures"
    study, stages = crowded_study(), stages_of()
    layers = dict.fromkeys(MODELS, LAYERS)
    summaries = {}
    for name, figure in study.figures.items():
        probe = study.probes[figure.probe]
        parts = [crowded_summary(figure, probe, model=model) for model in MODELS]
        summaries[figure.probe] = pl.concat(parts)
        (folder / name).mkdir(parents=True)
        for columns, ending in ((3, ""), (1, "-narrow")):
            drawn = draw_together(figure, probe, summaries[figure.probe], layers, TASKS, Layout(columns))
            save(drawn, folder / f"{name}{ending}.svg")
            own = folder / name / f"{MODELS[0]}{ending}.svg"
            save(draw(figure, probe, FigureData(parts[0], MODELS[0], TASKS), Layout(columns)), own)
            for model in MODELS[1:]:
                shutil.copyfile(own, folder / name / f"{model}{ending}.svg")
    for columns, ending in ((4, ""), (1, "-narrow")):
        save(draw_flow_diagram(stages, MODELS, columns), results / f"flow{ending}.svg")
    accuracy = [
        {"model": model, "task": task, "asked": 1234, "correct": 1000, "analysed": 999, "accuracy": 0.81}
        for model in MODELS
        for task in TASKS
    ]
    question = dict.fromkeys(QUESTIONS.columns) | {"question_id": "1", "image_id": "1", "answer": "red", "objects": []}
    question |= {"question": "Which?", "structural": "query", "semantic": "attr", "detailed": "d"}
    about = {"question_id": "1", "stage": "flow", "what": "", "reason": "a reason with a /long/path/of/folders/" * 4}
    skipped = [about | {"task": task, "model": model} for task in TASKS for model in MODELS]
    skipped += [
        about | {"task": TASKS[1], "model": MODELS[1], "reason": "another"},
        about | {"task": None, "model": None},
    ]
    cost = {"jobs": 2, "unmeasured": 0, "questions": 10, "kept": 7, "hours": 1.5, "gpus": 2, "gpu_hours": 3.0}
    cost |= {"cpu_hours": 1.0, "memory": 900.0}
    answer = {"question_id": "1", "image_id": "1", "predicted": "b" * 90, "answer": "red", "correct": False}
    answer |= {"probability": 0.5, "token_ids": [1], "tokens": ["b"], "token_probabilities": [0.5]}
    made = Results(
        questions=QUESTIONS.frame([question]),
        task_questions={},
        answers={(model, task): ANSWERS.frame([answer | {"task": task}]) for model in MODELS for task in TASKS},
        accuracy=ACCURACY.frame(accuracy),
        skipped=SKIPPED.frame(skipped),
        cost=COST.frame([cost | {"model": model, "step": "flow"} for model in MODELS]),
        summaries=summaries,
        claims=claims_of(study),
        stages=stages,
        failures=[{"model": MODELS[0], "probe": "flow", "why": "memory ran out " * 9}],
    )
    facts = {"architecture": "A", "layers": LAYERS, "width": 4, "parameters": 7_000_000_000, "dtype": "bfloat16"}
    facts |= {"content": "c" * 64, "revision": "a" * 40, "versions": "Python 3.11, torch 2.13.0"}
    models = MODEL.frame([facts | {"model": model} for model in MODELS])
    history = provenance(
        study,
        questions=made.questions,
        tasks=dict.fromkeys(TASKS, 1),
        accuracy=made.accuracy,
        summaries=summaries,
        models=models,
        skipped=made.skipped,
    )
    drawn = dict.fromkeys(study.figures, MODELS)
    files = FigureFiles(folder, drawn, list(study.figures))
    text = render(study, made, files, history, "explorer/index.html")
    (results / "index.html").write_text(text, encoding="utf-8")
    return results / "index.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_or_overlaps(page, tab, width):
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.open(page)
    tab.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for button in tab.page.locator("table.claims button").all():
        button.click()
    found = tab.measure()
    assert found["width"] <= width
    assert found["outside"] == []
    assert found["overlapping"] == []
    assert violations(tab.page) == []
    assert (tab.messages, tab.outward()) == ([], [])


def visible(tab, block):
    return tab.page.locator(".block").nth(block).locator("figure:visible")


def test_a_menu_shows_one_model_and_one_measure_at_a_time(page, tab):
    tab.open(page)
    assert [figure.get_attribute("data-model") for figure in visible(tab, 0).all()] == ["all models"]
    model, measure = (tab.page.locator(f".block [data-menu={name}]").first for name in ("model", "variant"))
    assert model.locator("option").all_inner_texts() == ["all models", *MODELS]
    model.select_option(MODELS[1])
    (shown,) = visible(tab, 0).all()
    assert shown.get_attribute("data-model") == MODELS[1]
    tab.page.wait_for_function("[...document.images].every((i) => !i.checkVisibility() || i.naturalWidth > 0)")
    measure.select_option("The same, by the margin")
    assert tab.page.locator(".variant:visible").first.get_attribute("id") == "figure-margin"
    assert visible(tab, 0).count() == 1
    assert tab.messages == []


def test_a_menu_of_tasks_shows_the_panels_and_numbers_of_one_task(page, tab):
    tab.page.set_viewport_size({"width": 1280, "height": 4000})
    tab.open(page)
    block = tab.page.locator(".block").first
    menu = block.locator("[data-menu=task]")
    menu.wait_for()
    assert menu.locator("option").all_inner_texts() == ["all", *TASKS[:4]]
    whole = block.locator("picture img").first
    assert whole.is_visible()
    rows = block.locator(".variant:visible tbody tr")
    block.locator("summary:visible").click()
    count = rows.locator("visible=true").count()
    menu.select_option(TASKS[2])
    only = block.locator("img.of-task")
    only.wait_for()
    assert not whole.is_visible()
    assert TASKS[2] in only.get_attribute("alt")
    assert set(rows.locator("visible=true").locator("[data-label=Task]").all_inner_texts()) == {TASKS[2]}
    # Another model keeps the task; all tasks bring the whole figure back.
    block.locator("[data-menu=model]").select_option(MODELS[1])
    expect(only).to_have_count(2)
    expect(only.locator("visible=true")).to_have_count(1)
    menu.select_option("all")
    expect(only.locator("visible=true")).to_have_count(0)
    assert rows.locator("visible=true").count() == count
    assert tab.messages == []


def test_a_claim_opens_by_keyboard_and_leads_to_its_figure_and_questions(page, tab):
    tab.open(page)
    behind = tab.page.locator("#behind-F04")
    assert not behind.is_visible()
    button = tab.page.locator("#claim-F04 button")
    button.focus()
    tab.page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert "below −5" in behind.inner_text()
    assert "−12.3 [−12.3, −12.3]" in behind.inner_text()
    link = behind.locator("a", has_text="the questions behind it").first.get_attribute("href")
    assert link.startswith("explorer/index.html#model=")
    behind.locator("a", has_text="by the margin").click()
    assert tab.page.locator("#figure-margin").is_visible(), "its variant is chosen"


def test_the_page_prints_with_everything_open(page, tab, tmp_path):
    tab.open(page)
    tab.page.pdf(path=tmp_path / "report.pdf")
    assert tab.page.evaluate("[...document.querySelectorAll('details')].every((each) => each.open)")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def test_it_is_read_without_scripts(page, chromium):
    context = chromium.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(page.as_uri())
    assert plain.locator("#behind-F04").is_visible()
    assert plain.locator("#figure-margin").is_visible()
    context.close()
