"""The workflow itself, run by Snakemake in a copy of the repository on a small study."""

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import yaml
from common import ROOT

from vlmflow.tables import ACCURACY, ANSWERS, KNOCKOUT, LENS, MEASURED, PATCHES, QUESTIONS, SKIPPED, TASK

SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PARTS = ["Snakefile", "config.yaml", "rules", "workflow_scripts", "envs", "profiles", "resources/tiny-llava"]
TASKS = ["ChooseAttr", "QueryAttr"]


def small_study():
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["study"] = "small"
    study["dataset"]["images"] = 25
    study["sample"]["per_task"] = 6
    study["tasks"] = {name: study["tasks"][name] for name in TASKS}
    return study


class Workspace:
    """A copy of what the repository holds, so that a run leaves the real results alone."""

    def __init__(self, folder):
        self.folder = folder
        for part in PARTS:
            source, target = ROOT / part, folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def write(self, study, name="study.yaml"):
        (self.folder / name).write_text(yaml.safe_dump(study, sort_keys=False))

    def snakemake(self, *arguments, study="study.yaml"):
        chosen = ["--configfile", study] if study else []
        command = [*SNAKEMAKE, *chosen, "--cores", "2", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    def plan(self, study):
        """Snakemake's own plan for a study: rule → number of jobs."""
        self.write(study, "changed.yaml")
        done = self.snakemake("--dry-run", study="changed.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workflow"))
    workspace.write(small_study())
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


def test_every_file_is_where_the_design_says(workspace):
    results = workspace.folder / "results" / "small"
    assert len(QUESTIONS.read(results / "questions.parquet")) > 100
    for task in TASKS:
        asked = TASK.read(results / "tasks" / f"{task}.parquet")
        patches = PATCHES.read(results / "tiny-llava" / "patches" / f"{task}.parquet")
        answers = ANSWERS.read(results / "tiny-llava" / "answers" / f"{task}.parquet")
        assert len(asked) == len(patches) == len(answers) == 25
        flow = KNOCKOUT.read(results / "tiny-llava" / "flow" / f"{task}.parquet")
        tracking = LENS.read(results / "tiny-llava" / "tracking" / f"{task}.parquet")
        assert len(flow) == 6 * 6 * 10  # questions × edges × layers
        assert tracking["layer"].unique().sort().to_list() == list(range(-1, 10))
        joined = flow.join(answers, on="question_id", suffix=" answered")
        assert joined["correct"].all()
        assert (joined["p_base"] - joined["probability"]).abs().max() < 1e-5
    for probe, kind in (("flow", "knockout"), ("tracking", "lens")):
        summary = MEASURED[kind].summary.read(results / "summary" / f"{probe}.parquet")
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
        assert row["asked"] - row["right"] == count


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
        "write_report": 1,
        "all": 1,
        "total": len(TASKS) + 4,
    }


def test_a_changed_probe_leaves_answers_and_other_probes_alone(workspace):
    study = small_study()
    study["probes"]["flow"]["window"] = 5
    plan = workspace.plan(study)
    assert plan["run_probe"] == len(TASKS)
    assert plan["summarise_probe"] == 1
    assert plan["draw_figure"] == 3  # those of the probe `flow`
    assert not {"answer_questions", "draw_sample", "map_patches", "read_questions"} & set(plan)


def test_another_sample_leaves_the_answers_alone(workspace):
    study = small_study()
    study["sample"]["per_task"] = 8
    plan = workspace.plan(study)
    assert plan["draw_sample"] == len(TASKS)
    assert "answer_questions" not in plan


def test_training_is_asked_for_by_name_only(workspace):
    everything = workspace.snakemake("--dry-run", "--forceall")
    assert everything.returncode == 0
    assert "run_probe" in everything.stdout + everything.stderr
    assert "train_tiny_llava" not in everything.stdout + everything.stderr
    plan = workspace.snakemake("--dry-run", "train_tiny_llava")
    assert re.search(r"^train_tiny_llava +1$", plan.stdout + plan.stderr, re.MULTILINE)


def test_a_study_file_replaces_the_default_whole(workspace):
    workspace.write({"sample": {"per_task": 3}}, "bare.yaml")
    done = workspace.snakemake("--dry-run", study="bare.yaml")
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "bare.yaml has 5 mistake(s)" in text
    for key in ("study", "dataset", "tasks", "models", "probes"):
        assert f"{key}: this key is missing" in text


def test_a_model_folder_that_does_not_exist_is_named(workspace):
    study = small_study()
    study["models"]["tiny-llava"]["path"] = "resources/nothing"
    workspace.write(study, "nothing.yaml")
    done = workspace.snakemake("--dry-run", study="nothing.yaml")
    assert done.returncode != 0
    assert "models.tiny-llava.path: there is no model in resources/nothing" in done.stdout + done.stderr


def test_mistakes_are_told_before_any_job(workspace):
    study = small_study()
    study["study"] = "typo"
    study["probes"]["flow"]["edges"][0] = "question -> lsat"
    workspace.write(study, "typo.yaml")
    done = workspace.snakemake(study="typo.yaml")
    assert done.returncode != 0
    assert "probes.flow.edges.0: edge 'question -> lsat': unknown segment 'lsat'" in done.stdout + done.stderr
    assert not (workspace.folder / "results" / "typo").exists()


def test_the_same_bytes_after_a_run_from_scratch(workspace):
    def tables(folder):
        paths = sorted(folder.rglob("*.parquet")) + sorted(folder.rglob("*.svg"))
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


def test_snakemakes_own_lint_has_nothing_to_say():
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_graph_is_the_workflows():
    done = subprocess.run(
        [*SNAKEMAKE, "--rulegraph", "mermaid-js", "--forceall"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", done.stdout)}
    graph = Path(ROOT / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    drawn = set()
    for chain in graph.strip().splitlines()[1:]:
        steps = [step.strip() for step in chain.split("-->")]
        drawn |= set(pairwise(steps))
    assert drawn <= edges
    assert {name for edge in drawn for name in edge} | {"all"} == set(names.values())


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
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.currentSrc.length, i.clientWidth])"
    )
    assert len(pictures) == 4
    assert all(loaded and shown > width * 0.5 for loaded, _, shown in pictures)
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
