"""The workflow itself, run by Snakemake in a copy of the repository on a small study."""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote
from zipfile import ZipFile

import polars as pl
import pytest

from support.browser import WIDTHS, violations
from support.results import rows_of
from support.studies import TASKS, small_study
from support.workspace import Workspace
from vlmflow.claims.judge import CLAIMS
from vlmflow.probes import KnockoutProbe, LensProbe, probe_class
from vlmflow.tables import ACCURACY, ANSWERS, COST, MODEL, PATCHES, QUESTIONS, SELECTED, SKIPPED, TASK

SHARDS = small_study()["models"]["tiny-llava"]["shards"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workflow"))
    workspace.write(small_study())
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


def test_every_file_is_there_with_its_rows(workspace):
    results = workspace.folder / "results" / "small"
    model = results / "tiny-llava"
    assert len(QUESTIONS.read(results / "questions.parquet")) > 100
    assert MODEL.read(model / "model.parquet").select("model", "layers", "dtype").rows() == [
        ("tiny-llava", 10, "float32")
    ]
    for task in TASKS:
        asked = TASK.read(results / "tasks" / f"{task}.parquet")
        patches = PATCHES.read(model / "patches.parquet").filter(task=task)
        answers = rows_of(ANSWERS, model / "answers", task)
        assert len(asked) == len(patches) == len(answers) == 25
        flow = rows_of(KnockoutProbe.table, model / "flow", task)
        tracking = rows_of(LensProbe.table, model / "tracking", task)
        # The control may be missing where the related patches are most of the image.
        control = flow["edge"].str.contains("as many as related")
        assert len(flow.filter(~control)) == 6 * 6 * 10  # questions × edges × layers
        assert tracking["layer"].unique().sort().to_list() == list(range(-1, 10))
        joined = flow.join(answers, on="question_id", suffix=" answered")
        assert joined["correct"].all()
        assert (joined["p_base"] - joined["probability"]).abs().max() < 1e-5
    for probe, kind in (("flow", "knockout"), ("tracking", "lens")):
        summary = probe_class(kind).summary_table().read(results / "summary" / f"{probe}.parquet")
        assert set(summary["task"]) == set(TASKS)
        assert set(summary.filter(~pl.col(summary.columns[2]).str.contains("as many"))["questions"]) == {6}
        assert (summary["low"] <= summary["mean"]).all()
    for figure in ("answer-position", "image-to-question", "patches-to-question", "answer-words"):
        for ending in (".html", ".svg", ".png", "-narrow.svg"):
            assert (results / "figures" / figure / f"tiny-llava{ending}").stat().st_size > 5000
    claims = CLAIMS.read(results / "summary" / "claims.parquet")
    assert set(claims["claim"]) == {"F04", "F21"}
    assert set(claims["verdict"]) == {"does not apply"}, "six questions are too few"
    assert claims["reason"].str.contains("has only 6 images").all()
    assert "has only 6 images" in (results / "index.html").read_text()
    assert (results / "index.html").stat().st_size > 50_000


def test_every_question_is_accounted_for(workspace):
    """At every stage, who comes in goes on or is skipped, never both and never neither."""
    results = workspace.folder / "results" / "small"
    skipped = SKIPPED.read(results / "summary" / "skipped.parquet")

    tables = {
        "patches": PATCHES.read(results / "tiny-llava" / "patches.parquet"),
        "answers": rows_of(ANSWERS, results / "tiny-llava" / "answers"),
        "selected": SELECTED.read(results / "tiny-llava" / "selected.parquet"),
        "flow": rows_of(KnockoutProbe.table, results / "tiny-llava" / "flow"),
        "tracking": rows_of(LensProbe.table, results / "tiny-llava" / "tracking"),
    }
    assert {task for table in tables.values() for task in table["task"]} == set(TASKS)

    def lost(stage, task):
        return set(skipped.filter((pl.col("stage") == stage) & (pl.col("task") == task))["question_id"])

    for task in TASKS:
        asked = set(TASK.read(results / "tasks" / f"{task}.parquet")["question_id"])
        of_task = {name: set(table.filter(task=task)["question_id"]) for name, table in tables.items()}
        stages = [
            ("patches", asked, of_task["patches"]),
            ("answers", asked, of_task["answers"]),
            ("selected", of_task["answers"], of_task["selected"]),
            *((probe, of_task["selected"], of_task[probe]) for probe in ("flow", "tracking")),
        ]
        for stage, before, after in stages:
            assert before == after | lost(stage, task), (stage, task)
            assert not after & lost(stage, task), (stage, task)
    accuracy = ACCURACY.read(results / "summary" / "answers.parquet")
    wrong = skipped.filter(pl.col("reason") == "answered wrongly").group_by("task").len()
    for task, count in wrong.iter_rows():
        row = accuracy.row(by_predicate=pl.col("task") == task, named=True)
        assert row["asked"] - row["correct"] == count


def test_every_question_is_in_one_shard_of_every_step(workspace):
    """In the same one, whatever its task: the part of a question depends on its id alone."""
    shard_of = {}
    for table, step in ((ANSWERS, "answers"), (KnockoutProbe.table, "flow"), (LensProbe.table, "tracking")):
        folder = workspace.folder / "results" / "small" / "tiny-llava" / step
        names = {f"{number}-of-{SHARDS}{ending}" for number in range(1, SHARDS + 1) for ending in ("", ".skipped")}
        assert {path.name.removesuffix(".parquet") for path in folder.iterdir()} == names
        for number in range(1, SHARDS + 1):
            rows = table.read(folder / f"{number}-of-{SHARDS}.parquet")
            assert set(rows["task"]) == set(TASKS)
            for question in rows["question_id"].unique():
                assert shard_of.setdefault(question, number) == number, (step, question)


def test_the_cost_is_in_the_report(workspace):
    """The demo's model runs on the processor: hours of jobs, none of a GPU."""
    results = workspace.folder / "results" / "small"
    cost = COST.read(results / "summary" / "cost.parquet")
    assert cost.select("model", "step", "jobs", "unmeasured", "questions", "kept", "gpu_hours").rows() == [
        ("tiny-llava", "loading", 1, 0, 0, 0, 0),
        ("tiny-llava", "answers", SHARDS, 0, 50, 0, 0),
        ("tiny-llava", "flow", SHARDS, 0, 12, 0, 0),
        ("tiny-llava", "tracking", SHARDS, 0, 12, 0, 0),
    ]
    assert (cost["hours"] > 0).all()
    assert (cost["memory"] > 0).all()
    assert '<h2 id="cost">' in (results / "index.html").read_text()


def test_snakemakes_report_holds_page_figures_and_sheets_with_captions(workspace):
    done = workspace.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (workspace.folder / "report.html").read_text()
    assert "In which layers of a vision-language model" in page
    shown = json.JSONDecoder().raw_decode(page, page.index('var results = {"') + len("var results = "))[0]
    figures = [f"results/small/figures/{figure}/tiny-llava.html" for figure in small_study()["figures"]]
    sheets = [f"results/small/tiny-llava/sheets/{task}.png" for task in TASKS]
    pages = [f"results/small/{page}.html" for page in ("index", "flow", "tables/claims")]
    assert set(shown) == {*pages, *figures, *sheets}
    assert all(len(entry["caption"]) > 100 and entry["labels"] for entry in shown.values())


def test_snakemakes_zipped_report_also_holds_single_questions(workspace):
    done = workspace.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stdout + done.stderr
    names = ZipFile(workspace.folder / "report.zip").namelist()
    (folder,) = (name.removesuffix("index-0.js") for name in names if name.endswith("index-0.js"))
    assert {f"{folder}{name}" for name in ("index.html", "part-0-0.js", "vega-embed.js")} <= set(names)


def test_a_missing_benchmark_file_repeats_no_job(workspace):
    path = workspace.folder / "results/small/benchmarks/run_probe/tiny-llava/flow/1-of-2.tsv"
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
        "run_probe": SHARDS,
        "summarise_probe": 1,
        "collect_skipped": 1,
        "summarise_cost": 1,
        # A further knockout may have further edges.
        "find_stages": 1,
        "draw_flow_diagram": 1,
        "format_table": 1,
        "write_explorer": 1,
        "write_report": 1,
        "all": 1,
        "total": SHARDS + 9,
    }


def test_a_changed_probe_leaves_answers_and_other_probes_alone(workspace):
    study = small_study()
    study["probes"]["flow"]["window"] = 5
    plan = workspace.plan(study)
    assert plan["run_probe"] == SHARDS
    assert plan["summarise_probe"] == 1
    assert plan["draw_figure"] == 3  # those of the probe `flow`
    assert not {"answer_questions", "sample_answered", "map_patches", "read_questions"} & set(plan)


def test_another_sample_leaves_the_answers_alone(workspace):
    study = small_study()
    study["sample"]["per_task"] = 8
    plan = workspace.plan(study)
    assert plan["sample_answered"] == 1
    assert "answer_questions" not in plan


def test_another_way_to_compare_answers_asks_again_and_reads_nothing_again(workspace):
    study = small_study() | {"answers_match": "relaxed"}
    plan = workspace.plan(study)
    assert plan["answer_questions"] == SHARDS
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
            {"load_model", "answer_questions", "run_probe"},
        ),
        (lambda study: study["models"]["tiny-llava"].update(note="another"), {"write_report"}, {"answer_questions"}),
        (
            lambda study: study["models"]["tiny-llava"].update(fit="pad"),
            {"load_model", "map_patches", "answer_questions", "run_probe"},
            {"select_candidates", "fetch_images"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(template="vicuna_v1"),
            {"load_model", "answer_questions", "run_probe"},
            {"fetch_images"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(dtype="float64"),
            {"load_model", "answer_questions", "run_probe"},
            {"fetch_images"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(instruction=" in one word"),
            {"answer_questions", "run_probe"},
            {"load_model", "map_patches", "fetch_images"},
        ),
        (
            lambda study: study["models"]["tiny-llava"].update(shards=3),
            {"answer_questions", "run_probe"},
            {"load_model", "map_patches", "fetch_images"},
        ),
        (
            lambda study: study.update(tables={"t": {"table": "tasks"}}),
            {"tabulate_tasks", "write_report"},
            {"answer_questions", "collect_skipped"},
        ),
        (lambda study: study["sample"].update(candidates=9), {"select_candidates", "fetch_images"}, {"read_questions"}),
    ],
    ids="seed patch_rule gpus note fit template dtype instruction shards table candidates".split(),
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
    workspace.write(study | {"study": "watched"}, "mine.yaml")
    target = "results/watched/tiny-llava/model.parquet"
    done = workspace.snakemake(target, study="mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr

    def planned():
        done = workspace.snakemake("--dry-run", target, study="mine.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"^(\w+) +1$", done.stdout + done.stderr, re.MULTILINE))

    assert planned() == set()
    (workspace.folder / "mine.jinja").touch()
    assert planned() == set()
    (workspace.folder / "mine.jinja").write_text(own + " ")
    assert planned() == {"load_model", "total"}


@pytest.mark.parametrize(
    ("file", "again", "not_again"),
    [
        (
            "resources/tiny-llava/model.safetensors",
            {"load_model", "answer_questions", "run_probe"},
            {"fetch_images", "select_candidates"},
        ),
        (
            "resources/tiny-llava/processor_config.json",
            {"load_model", "map_patches", "answer_questions", "run_probe"},
            {"fetch_images", "select_candidates"},
        ),
        (
            "resources/synthetic/25-0/images/{image_id}.png",
            {"map_patches", "answer_questions", "run_probe"},
            {"render_scenes", "fetch_images", "load_model"},
        ),
    ],
    ids=["weights", "processor", "image"],
)
def test_a_file_is_changed_if_its_content_is(workspace, file, again, not_again):
    """Whatever its date: a file that is merely touched is as it was, and a changed one may have an older date."""
    asked = TASK.read(workspace.folder / "results/small/tasks/QueryAttr.parquet")
    path = workspace.folder / file.format(image_id=asked["image_id"][0])
    content = path.read_bytes()
    path.touch()
    assert workspace.plan(small_study()) == {}
    try:
        path.write_bytes(content + b" ")
        os.utime(path, (0, 0))
        plan = set(workspace.plan(small_study()))
        assert plan >= again
        assert not plan & not_again
    finally:
        path.write_bytes(content)
    assert workspace.plan(small_study()) == {}


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
    assert workspace.plan(study)["run_probe"] == SHARDS
    done = workspace.snakemake("--dry-run", study="changed.yaml")
    inputs = re.findall(r"^rule run_probe:\n    input: (.+)$", done.stdout + done.stderr, re.MULTILINE)
    assert len(inputs) == SHARDS
    for files in inputs:
        assert re.findall(r"/tasks/(\w+)\.parquet", files) == TASKS[:1]
    # Tables of a probe are written again for other tasks, from the store (tests/slow/test_store.py); nothing else is.
    study = small_study()
    study["probes"]["flow"]["tasks"] = TASKS[:1]
    plan = workspace.plan(study)
    assert plan["run_probe"] == SHARDS
    assert not {"load_model", "answer_questions", "sample_answered", "map_patches"} & set(plan)


@pytest.mark.slow
@pytest.mark.parametrize("stored", [False, True], ids=["measured again", "from the store"])
def test_the_same_bytes_after_a_run_from_scratch(workspace, stored):
    def tables(folder):
        paths = sorted(folder.rglob("*.parquet")) + sorted(folder.rglob("*.svg"))
        paths.remove(folder / "summary" / "cost.parquet")  # what a run took differs from run to run
        return {path.relative_to(folder): path.read_bytes() for path in paths}

    results = workspace.folder / "results" / "small"
    before = tables(results)
    kept = results.rename(results.with_name("kept"))
    if not stored:
        shutil.rmtree(workspace.folder / "results" / "store")
    try:
        done = workspace.snakemake("--forceall")
        assert done.returncode == 0, done.stdout + done.stderr
        after = tables(results)
    finally:
        shutil.rmtree(kept)
    assert before.keys() == after.keys()
    assert [str(path) for path in before if before[path] != after[path]] == []
    cost = COST.read(results / "summary" / "cost.parquet")
    assert cost["kept" if stored else "questions"].to_list() == [0, 50, 12, 12]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_in_a_browser(workspace, tab, width):
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.open(workspace.folder / "results" / "small" / "index.html")
    found = tab.measure()
    assert (found["outside"], found["overlapping"]) == ([], [])
    assert found["width"] <= width, "the page scrolls sideways"
    images = tab.page.evaluate(
        "[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.clientWidth, i.closest('figure').id])"
    )
    assert len(images) == 5, "the flow, and four figures"
    assert all(loaded and shown > 200 for loaded, shown, _ in images)
    links = tab.page.evaluate("[...document.querySelectorAll('a')].map(a => a.href.split('#')[0])")
    assert all(Path(unquote(link.removeprefix("file://"))).is_file() for link in links)
    assert (tab.messages, tab.outward()) == ([], [])
    assert violations(tab.page) == []


def test_a_figure_in_a_browser_is_drawn(workspace, tab):
    tab.open(workspace.folder / "results/small/figures/answer-position/tiny-llava.html")
    tab.page.wait_for_selector(".marks")
    menu = tab.page.locator("select")
    assert menu.locator("option").first.inner_text() == "all"
    headings = tab.page.locator(".marks text", has_text="(n = ")
    assert headings.count() == len(TASKS)
    menu.select_option(index=1)
    tab.page.wait_for_function(
        "[...document.querySelectorAll('.marks text')].filter((t) => t.textContent.includes('(n = ')).length === 1"
    )
    assert (tab.messages, tab.outward()) == ([], [])


def test_questions_of_the_study_are_explored(workspace, tab):
    tab.open(workspace.folder / "results/small/explorer/index.html")
    tab.page.select_option("[name=sort]", "effect")  # questions that were analysed
    tab.page.locator(".row").first.click()
    tab.page.wait_for_selector(".question .chart svg")
    assert tab.page.locator(".seen image").count() == 1
    assert (tab.messages, tab.outward()) == ([], [])
