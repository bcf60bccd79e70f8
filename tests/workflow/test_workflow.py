"""The workflow itself, run by Snakemake in a copy of the repository on a small study."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from support.studies import TASKS, small_study
from support.workspace import Workspace
from vlmflow.probes import KnockoutProbe, LensProbe, probe_class
from vlmflow.tables import ACCURACY, ANSWERS, COST, PATCHES, QUESTIONS, SKIPPED, TASK


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workflow"))
    workspace.write(small_study())
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


def test_every_file_is_there_with_its_rows(workspace):
    results = workspace.folder / "results" / "small"
    assert len(QUESTIONS.read(results / "questions.parquet")) > 100
    for task in TASKS:
        asked = TASK.read(results / "tasks" / f"{task}.parquet")
        patches = PATCHES.read(results / "tiny-llava" / "patches" / f"{task}.parquet")
        answers = ANSWERS.read(results / "tiny-llava" / "answers" / f"{task}.parquet")
        assert len(asked) == len(patches) == len(answers) == 25
        flow = KnockoutProbe.table.read(results / "tiny-llava" / "flow" / f"{task}.parquet")
        tracking = LensProbe.table.read(results / "tiny-llava" / "tracking" / f"{task}.parquet")
        assert len(flow) == 6 * 6 * 10  # questions × edges × layers
        assert tracking["layer"].unique().sort().to_list() == list(range(-1, 10))
        joined = flow.join(answers, on="question_id", suffix=" answered")
        assert joined["correct"].all()
        assert (joined["p_base"] - joined["probability"]).abs().max() < 1e-5
    for probe, kind in (("flow", "knockout"), ("tracking", "lens")):
        summary = probe_class(kind).summary_table().read(results / "summary" / f"{probe}.parquet")
        assert set(summary["task"]) == set(TASKS)
        assert set(summary["questions"]) == {6}
        assert (summary["low"] <= summary["mean"]).all()
    for figure in ("answer-position", "image-to-question", "patches-to-question", "answer-words"):
        for ending in (".html", ".svg", ".png", "-narrow.svg"):
            assert (results / "figures" / figure / f"tiny-llava{ending}").stat().st_size > 5000
    assert (results / "index.html").stat().st_size > 50_000


def test_every_question_is_accounted_for(workspace):
    """At every stage, who comes in goes on or is skipped, never both and never neither."""
    results = workspace.folder / "results" / "small"
    skipped = SKIPPED.read(results / "summary" / "skipped.parquet")

    def ids(path):
        return set(pl.read_parquet(results / path)["question_id"])

    def lost(stage, task):
        return set(skipped.filter((pl.col("stage") == stage) & (pl.col("task") == task))["question_id"])

    for task in TASKS:
        asked, answered = ids(f"tasks/{task}.parquet"), ids(f"tiny-llava/answers/{task}.parquet")
        selected = ids(f"tiny-llava/selected/{task}.parquet")
        stages = [
            ("patches", asked, ids(f"tiny-llava/patches/{task}.parquet")),
            ("answers", asked, answered),
            ("selected", answered, selected),
            *((probe, selected, ids(f"tiny-llava/{probe}/{task}.parquet")) for probe in ("flow", "tracking")),
        ]
        for stage, before, after in stages:
            assert before == after | lost(stage, task), (stage, task)
            assert not after & lost(stage, task), (stage, task)
    accuracy = ACCURACY.read(results / "summary" / "answers.parquet")
    wrong = skipped.filter(pl.col("reason") == "answered wrongly").group_by("task").len()
    for task, count in wrong.iter_rows():
        row = accuracy.row(by_predicate=pl.col("task") == task, named=True)
        assert row["asked"] - row["correct"] == count


def test_the_cost_is_in_the_report(workspace):
    """The demo's model runs on the processor: hours of jobs, none of a GPU."""
    results = workspace.folder / "results" / "small"
    cost = COST.read(results / "summary" / "cost.parquet")
    assert cost.select("model", "step", "jobs", "unmeasured", "questions", "gpu_hours").rows() == [
        ("tiny-llava", "answers", 2, 0, 50, 0),
        ("tiny-llava", "flow", 2, 0, 12, 0),
        ("tiny-llava", "tracking", 2, 0, 12, 0),
    ]
    assert (cost["hours"] > 0).all()
    assert (cost["memory"] > 100).all()
    assert '<h2 id="cost">' in (results / "index.html").read_text()


def test_snakemakes_report_holds_page_figures_and_sheets_with_captions(workspace):
    done = workspace.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (workspace.folder / "report.html").read_text()
    assert "In which layers of a vision-language model" in page
    shown = json.JSONDecoder().raw_decode(page, page.index('var results = {"') + len("var results = "))[0]
    figures = [f"results/small/figures/{figure}/tiny-llava.html" for figure in small_study()["figures"]]
    sheets = [f"results/small/tiny-llava/sheets/{task}.png" for task in TASKS]
    assert set(shown) == {"results/small/index.html", *figures, *sheets}
    assert all(len(entry["caption"]) > 100 and entry["labels"] for entry in shown.values())


def test_a_missing_benchmark_file_repeats_no_job(workspace):
    path = workspace.folder / "results/small/benchmarks/run_probe/tiny-llava/flow/QueryAttr.tsv"
    kept = path.read_bytes()
    path.unlink()
    try:
        assert workspace.plan(small_study()) == {}
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("figures/answer-position/tiny-llava.png", "draw_figure"),
        ("tiny-llava/sheets/QueryAttr.png", "map_patches"),
        ("summary/flow.parquet", "summarise_probe"),
        ("summary/cost.parquet", "summarise_cost"),
    ],
)
def test_a_deleted_result_is_made_again(workspace, file, rule):
    path = workspace.folder / "results/small" / file
    kept = path.rename(path.with_name("kept"))
    try:
        assert workspace.plan(small_study())[rule] == 1
    finally:
        kept.rename(path)


def test_a_second_run_does_nothing(workspace):
    assert workspace.plan(small_study()) == {}


def test_a_changed_figure_redraws_that_figure(workspace):
    study = small_study()
    study["figures"]["image-to-question"]["title"] = "Another title"
    assert workspace.plan(study) == {"draw_figure": 1, "write_report": 1, "all": 1, "total": 3}


def test_an_added_probe_computes_that_probe(workspace):
    study = small_study()
    study["probes"]["wide"] = {"kind": "knockout", "window": 5, "edges": ["image -> last"]}
    plan = workspace.plan(study)
    assert plan == {
        "run_probe": len(TASKS),
        "summarise_probe": 1,
        "collect_skipped": 1,
        "summarise_cost": 1,
        "write_report": 1,
        "all": 1,
        "total": len(TASKS) + 5,
    }


def test_a_changed_probe_leaves_answers_and_other_probes_alone(workspace):
    study = small_study()
    study["probes"]["flow"]["window"] = 5
    plan = workspace.plan(study)
    assert plan["run_probe"] == len(TASKS)
    assert plan["summarise_probe"] == 1
    assert plan["draw_figure"] == 3  # those of the probe `flow`
    assert not {"answer_questions", "sample_answered", "map_patches", "read_questions"} & set(plan)


def test_another_sample_leaves_the_answers_alone(workspace):
    study = small_study()
    study["sample"]["per_task"] = 8
    plan = workspace.plan(study)
    assert plan["sample_answered"] == len(TASKS)
    assert "answer_questions" not in plan


def test_another_way_to_compare_answers_asks_again_and_reads_nothing_again(workspace):
    study = small_study() | {"answers_match": "relaxed"}
    plan = workspace.plan(study)
    assert plan["answer_questions"] == len(TASKS)
    assert not {"read_questions", "fetch_images", "map_patches"} & set(plan)
    assert workspace.plan(small_study() | {"answers_match": "strict"}) == {}


@pytest.mark.parametrize(
    ("change", "again", "not_again"),
    [
        (
            lambda study: study["sample"].update(seed=5),
            {"sample_answered", "run_probe"},
            {"select_candidates", "answer_questions"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(patch_rule="painted"),
            {"map_patches", "run_probe"},
            {"answer_questions", "sample_answered"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(gpus=1),
            {"write_report"},
            {"answer_questions", "run_probe"},
        ),
        (lambda study: study["models"]["tiny-llava"].update(note="another"), {"write_report"}, {"answer_questions"}),
        (
            lambda study: study["models"]["tiny-llava"].update(fit="pad"),
            {"map_patches", "answer_questions", "run_probe"},
            {"select_candidates", "fetch_images"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(template="vicuna_v1"),
            {"answer_questions", "run_probe"},
            {"fetch_images"},
        ),
        (
            lambda study: study.update(tables={"t": {"table": "tasks"}}),
            {"tabulate_tasks", "write_report"},
            {"answer_questions", "collect_skipped"},
        ),
        (lambda study: study["sample"].update(candidates=9), {"select_candidates", "fetch_images"}, {"read_questions"}),
    ],
    ids=["seed", "patch_rule", "gpus", "note", "fit", "template", "table", "candidates"],
)
def test_a_change_recomputes_what_depends_on_it(workspace, change, again, not_again):
    study = small_study()
    change(study)
    plan = set(workspace.plan(study))
    assert plan >= again
    assert not plan & not_again


def test_a_template_file_is_watched_and_must_be_there(workspace):
    study = small_study()
    study["models"]["tiny-llava"]["template"] = "mine.jinja"
    workspace.write(study, "mine.yaml")
    done = workspace.snakemake("--dry-run", study="mine.yaml")
    assert f"models.tiny-llava.template: there is no file {workspace.folder}/mine.jinja" in done.stdout + done.stderr
    own = (workspace.folder / "resources/tiny-llava/chat_template.jinja").read_text()
    (workspace.folder / "mine.jinja").write_text(own)
    target = "results/small/tiny-llava/patches/QueryAttr.parquet"
    done = workspace.snakemake("--dry-run", target, study="mine.yaml")
    assert "mine.jinja" in done.stdout + done.stderr
    (workspace.folder / "mine.jinja").unlink()


def test_training_is_planned_only_if_named(workspace):
    everything = workspace.snakemake("--dry-run", "--forceall")
    assert everything.returncode == 0
    assert "run_probe" in everything.stdout + everything.stderr
    assert "train_tiny_llava" not in everything.stdout + everything.stderr
    plan = workspace.snakemake("--dry-run", "train_tiny_llava")
    assert re.search(r"^train_tiny_llava +1$", plan.stdout + plan.stderr, re.MULTILINE)


def test_a_study_file_replaces_the_default_completely(workspace):
    workspace.write({"sample": {"per_task": 3}}, "bare.yaml")
    done = workspace.snakemake("--dry-run", study="bare.yaml")
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "bare.yaml has 5 mistake(s)" in text
    for key in ("study", "dataset", "tasks", "models", "probes"):
        assert f"{key}: this key is missing" in text


def test_a_file_that_a_rule_makes_need_not_be_there_and_a_folder_of_questions_is_its_files(workspace):
    (workspace.folder / "q").mkdir()
    for name in ("a.json", "b.jsonl.gz", "note.txt"):
        (workspace.folder / "q" / name).write_text("{}")
    (workspace.folder / "images").mkdir()
    study = small_study()
    graphs = "resources/synthetic/9-9/sceneGraphs.json"
    study["dataset"] = {"source": "gqa", "questions": "q", "scene_graphs": graphs, "images_dir": "images"}
    assert workspace.plan(study)["render_scenes"] == 1
    done = workspace.snakemake("--dry-run", study="changed.yaml")
    assert re.search(rf"^    input: q/a\.json, q/b\.jsonl\.gz, {graphs}$", done.stdout + done.stderr, re.MULTILINE)


def test_a_probe_of_one_task_is_run_for_that_task_only(workspace):
    study = small_study()
    study["probes"]["wide"] = {"kind": "knockout", "window": 5, "edges": ["image -> last"], "tasks": TASKS[:1]}
    plan = workspace.plan(study)
    assert plan["run_probe"] == 1
    # Which tasks a probe is run on does not change what it measures there.
    study = small_study()
    study["probes"]["flow"]["tasks"] = TASKS[:1]
    assert "run_probe" not in workspace.plan(study)


@pytest.mark.slow
def test_the_same_bytes_after_a_run_from_scratch(workspace):
    def tables(folder):
        paths = sorted(folder.rglob("*.parquet")) + sorted(folder.rglob("*.svg"))
        paths.remove(folder / "summary" / "cost.parquet")  # what a run took differs from run to run
        return {path.relative_to(folder): path.read_bytes() for path in paths}

    results = workspace.folder / "results" / "small"
    before = tables(results)
    kept = results.rename(results.with_name("kept"))
    try:
        done = workspace.snakemake("--forceall")
        assert done.returncode == 0, done.stdout + done.stderr
        after = tables(results)
    finally:
        shutil.rmtree(kept)
    assert before.keys() == after.keys()
    assert [str(path) for path in before if before[path] != after[path]] == []


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium with selenium."""
    from selenium import webdriver

    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no Chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def requests(browser):
    urls = re.findall(r'"url":"([^"]+)"', " ".join(entry["message"] for entry in browser.get_log("performance")))
    return {url for url in urls if not url.startswith(("data:", "file:", "chrome", "devtools", "about:"))}


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_in_a_browser(workspace, browser, width):
    # The window of a headless browser has a least width; the device's own is set by the protocol.
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((workspace.folder / "results" / "small" / "index.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    images = browser.execute_script(
        "return [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.currentSrc.length, i.clientWidth])"
    )
    assert len(images) == 4
    assert all(loaded and shown > width * 0.4 for loaded, _, shown in images)
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(a => a.href)")
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)
    assert requests(browser) == set()


def test_a_figure_in_a_browser_is_drawn(workspace, browser):
    browser.get((workspace.folder / "results/small/figures/answer-position/tiny-llava.html").as_uri())
    drawn = browser.execute_script("return document.querySelectorAll('canvas, svg').length")
    assert drawn > 0
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    assert requests(browser) == set()
