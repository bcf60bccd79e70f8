"""studies/flow.yaml, from download to figures, on local servers: the paper's models and data in small, nothing else
changed; with connections that break, a damaged image, a missing one, and an archive that is not there at first."""

import hashlib
import json
import re
import shutil
import zipfile
from types import SimpleNamespace

import polars as pl
import pytest
import yaml

from support import tiny_models
from support.paper_rows import write_gqa, write_paper_files
from support.paths import ROOT
from support.results import rows_of
from support.servers import HubHandler, serving
from support.workspace import Workspace
from vlmflow.probes import probe_class
from vlmflow.study import read_study
from vlmflow.tables import ACCURACY, ANSWERS, PATCHES, SKIPPED

pytestmark = pytest.mark.slow

STUDY = yaml.safe_load((ROOT / "studies" / "flow.yaml").read_text())
# What each of the small models says to every question: each of them is right in some tasks.
ANSWERS_OF = {
    "llava-1.5-13b": "left",
    "llava-1.5-7b": "yes",
    "llava-v1.6-vicuna-7b": "right",
    "llava-v1.6-vicuna-13b": "color",
    "llama3-llava-next-8b": "no",
}
IMAGES, SHARDS = 18, 2
DAMAGED, ABSENT = "3", "7"  # images


def serve_gqa(folder, gqa):
    """GQA's three archives, with a damaged image and without another one."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "questions1.2.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gqa / "questions.json", "val_balanced_questions.json")
        archive.writestr("train_balanced_questions.json", "{}" * 10**6)
    with zipfile.ZipFile(folder / "sceneGraphs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gqa / "sceneGraphs.json", "val_sceneGraphs.json")
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted((gqa / "images").iterdir()):
            if image.stem != ABSENT:
                archive.write(image, f"images/{image.name}")
        place = archive.getinfo(f"images/{DAMAGED}.jpg").header_offset
    content = bytearray(path.read_bytes())
    content[place + 700] ^= 0xFF
    path.write_bytes(content)


def small_flow(server, files):
    """The study as it is, but for where things are fetched from, and for numbers that a small computer needs."""
    study = json.loads(json.dumps(STUDY))
    checksums = {name: hashlib.sha256((files / name).read_bytes()).hexdigest() for name in STUDY_FILES}
    study["dataset"] |= {"base_url": f"{server.url}/paper", "gqa_url": f"{server.url}/gqa", "sha256": checksums}
    study["tables"]["table-2"] |= {"dataset": {"source": "gqa", "base_url": f"{server.url}/gqa"}}
    study["models"][study["tables"]["table-2"]["model"]]["shards"] = SHARDS
    for model in study["models"].values():
        model["dtype"] = "float32"
    return study


STUDY_FILES = [
    f"GQA_val_correct_question_with_{name}.csv"
    for name in (
        "choose_ChooseAttr",
        "categoryThatThisChoose_objThisChoose_ChooseCat",
        "relChooser_ChooseRel",
        "twoCommon_CompareAttr",
        "existThatOr_LogicalObj",
        "positionQuery_QueryAttr",
    )
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The servers, and the two runs: the first one without GQA's questions, the second one to the end."""
    base = tmp_path_factory.mktemp("flow")
    gqa, served = base / "gqa", base / "served"
    write_gqa(gqa, images=IMAGES)
    counts = write_paper_files(gqa, served / "paper")
    serve_gqa(served / "gqa", gqa)
    texts = [entry["question"] for entry in json.loads((gqa / "questions.json").read_text()).values()]
    for seed, (name, model) in enumerate(STUDY["models"].items()):
        kind = "llava" if "1.5" in name else "llava_next"
        folder = served / "hub" / model["path"]
        words = [*texts, *ANSWERS_OF.values()]
        # As many layers as the study's larger window.
        tiny_models.save(folder, kind, model["template"], words, ANSWERS_OF[name], seed, layers=9)
        (folder / "pytorch_model.bin").write_bytes(b"never fetched")
        (folder / "modeling_evil.py").write_text("raise SystemExit('never run')")
    with serving(served) as server, serving(served / "hub", HubHandler) as hub:
        (base / "work").mkdir()
        workspace = Workspace(base / "work", HF_ENDPOINT=hub.url, HF_HOME=str(base / "cache"))
        workspace.write(small_flow(server, served / "paper"))
        server.faults.status["/gqa/questions1.2.zip"] = 404
        # Every one of these cuts falls into an image of the archive; a single file would use up all of its tries.
        server.faults.cut, server.faults.cut_from, server.faults.cut_at = 4, 1500, "/images.zip"
        first = workspace.snakemake("--resources", "gpu=4")
        leftover_cuts = server.faults.cut
        server.faults.status.clear()
        before = len(server.requests)
        second = workspace.snakemake("--resources", "gpu=4")
        yield SimpleNamespace(
            workspace=workspace,
            results=workspace.folder / "results" / "flow",
            first=first,
            second=second,
            cuts_left=leftover_cuts,
            again=server.requests[before:],
            server=server,
            hub=hub,
            counts=counts,
            cache=base / "cache",
        )


def test_a_missing_archive_is_reported_and_nothing_else_is_lost(run):
    assert run.first.returncode != 0
    text = run.first.stdout + run.first.stderr
    assert "DownloadError" in text
    assert f"{run.server.url}/gqa/questions1.2.zip: 404" in text
    # Whatever did not need it went on, whatever connections broke meanwhile, and is not fetched again.
    assert run.cuts_left == 0
    assert not any("/paper/" in path for _, path, _ in run.again)


def test_the_same_command_goes_on_to_the_end(run):
    assert run.second.returncode == 0, run.second.stdout + run.second.stderr
    study = read_study(STUDY, "flow.yaml")
    drawn = [(name, model) for name, figure in study.figures.items() for model in study.models_of(figure.probe)]
    # Figures 3 to 6 of every model, and the control.
    names = ["figure-3", "figure-4", "figure-5", "figure-5-control", "figure-6"]
    assert sorted(drawn) == [(name, model) for name in names for model in sorted(STUDY["models"])]
    for figure, model in drawn:
        for ending in (".html", ".svg", ".png", "-narrow.svg"):
            assert (run.results / "figures" / figure / f"{model}{ending}").stat().st_size > 1000
    assert (run.results / "index.html").stat().st_size > 50_000
    third = run.workspace.snakemake("--dry-run")
    assert "Nothing to be done" in third.stdout + third.stderr


def test_the_numbers_of_the_paper_are_compared(run):
    done = run.workspace.snakemake("check_targets")
    assert done.returncode == 0, done.stdout + done.stderr
    table = pl.read_csv(run.results / "tables" / "targets.csv")
    assert {"T012", "T028", "T043", "T052"} <= set(table["target"])
    assert set(table["verdict"]) <= {"agrees", "differs", "not measured"}
    assert table.filter(pl.col("verdict") == "not measured")["reason"].is_not_null().all()
    # Each model here gives the same answer to every question, which is right for few.
    assert table.filter(target="T012")["verdict"].to_list() == ["differs"]
    assert "T012" in done.stdout + done.stderr


def test_no_file_is_partial(run):
    inside = [path for path in run.workspace.folder.rglob("*") if path.is_file() and ".snakemake" not in path.parts]
    # Snakemake puts a file of its own into a folder that a rule makes.
    expected = (".gitignore", ".snakemake_timestamp")
    temporary = [path for path in inside if path.name.startswith((".", "tmp")) and path.name not in expected]
    assert [path for path in temporary if not path.name.endswith(".lock")] == []
    images = {path.stem for path in (run.workspace.folder / "resources/gqa/images").glob("*.jpg")}
    assert images == {str(number) for number in range(IMAGES)} - {DAMAGED, ABSENT}
    assert not list((run.workspace.folder / "resources/gqa").glob("*.zip"))


def test_images_that_cannot_be_fetched_drop_their_questions_with_the_reason(run):
    skipped = SKIPPED.read(run.results / "summary" / "skipped.parquet")
    reasons = skipped.filter((pl.col("stage") == "images") & (pl.col("task") != "table-2"))
    damaged = reasons.filter(pl.col("reason").str.contains("is damaged"))
    absent = reasons.filter(pl.col("reason").str.contains(f"there is no images/{ABSENT}.jpg in"))
    assert len(damaged) + len(absent) == len(reasons)
    assert len(damaged)
    assert len(absent)
    page = (run.results / "index.html").read_text()
    assert "is damaged" in page
    # The page of single questions lists them with their words, although no task has them any more.
    text = (run.results / "explorer" / "index-0.js").read_text()
    *_, index = json.loads(text.removeprefix("explorer.receive(...").removesuffix(");\n"))
    listed = dict(zip(index["question_id"], zip(index["state"], index["question"], strict=True), strict=True))
    for row in reasons.to_dicts():
        state, question = listed[row["question_id"]]
        assert state == "dropped"
        assert question.endswith("?")


def test_every_model_is_analysed_on_its_own_correct_answers(run):
    accuracy = ACCURACY.read(run.results / "summary" / "answers.parquet")
    assert set(accuracy["model"]) == set(STUDY["models"])
    for name, word in ANSWERS_OF.items():
        right = accuracy.filter((pl.col("model") == name) & (pl.col("correct") > 0))
        assert len(right) > 0, name
        for task in right["task"]:
            answers = rows_of(ANSWERS, run.results / name / "answers", task)
            assert answers.filter("correct")["predicted"].unique().to_list() == [word]
            flow = rows_of(probe_class("knockout").table, run.results / name / "flow", task)
            assert set(flow["question_id"]) == set(answers.filter("correct")["question_id"])
            assert set(flow["edge"]) == set(STUDY["probes"]["flow"]["edges"])
            lens = rows_of(probe_class("lens").table, run.results / name / "tracking", task)
            assert set(lens["question_id"]) == set(flow["question_id"])
    assert accuracy.filter(pl.col("correct") == 0)["analysed"].sum() == 0


def test_patches_are_those_of_each_models_layout(run):
    fixed = PATCHES.read(run.results / "llava-1.5-7b" / "patches.parquet").filter(task="QueryAttr")
    assert set(fixed["tokens"]) == {9}
    assert fixed["no_patch"].list.len().sum() == 0
    tiles = PATCHES.read(run.results / "llama3-llava-next-8b" / "patches.parquet").filter(task="QueryAttr")
    assert min(tiles["tokens"]) > 9
    assert len(set(tiles["tokens"])) > 1  # the images' shapes differ
    assert tiles["no_patch"].list.len().min() > 0
    for model in STUDY["models"]:
        for task in STUDY["tasks"]:
            assert (run.results / model / "sheets" / f"{task}.png").stat().st_size > 5000


def test_table_1_has_a_row_per_task(run):
    table = pl.read_csv(run.results / "tables" / "table-1.csv")
    assert table["task"].to_list() == list(STUDY["tasks"])
    kinds = dict(zip(table["task"], table["kind"], strict=True))
    assert kinds == dict.fromkeys(STUDY["tasks"], "open") | {"LogicalObj": "binary"}
    for row in table.to_dicts():
        skipped = SKIPPED.read(run.results / "tasks" / f"{row['task']}.images.skipped.parquet")
        assert row["questions"] + len(skipped) in run.counts.values()
        assert row["question"]
    assert "data:image/jpeg;base64" in (run.results / "tables" / "table-1.html").read_text()


def test_table_2_is_the_accuracy_per_group(run):
    every = pl.read_csv(run.results / "tables" / "table-2.csv")
    table, detailed = every.filter(pl.col("detailed") == ""), every.filter(pl.col("detailed") != "")
    assert detailed["questions"].sum() == table["questions"].sum()
    shards = run.results / "tables" / "table-2" / "answers"
    assert len(list(shards.glob(f"?-of-{SHARDS}.parquet"))) == SHARDS
    answers = rows_of(ANSWERS, shards)
    assert answers["question_id"].is_unique().all()
    assert table["questions"].sum() == len(answers)
    assert table["accuracy"].dot(table["questions"]) == pytest.approx(answers["correct"].sum())
    assert set(zip(table["structural"], table["semantic"], strict=True)) >= {("choose", "rel"), ("logical", "obj")}
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["high"] >= table["accuracy"]).all()
    assert 0 < table.filter(pl.col("semantic") == "rel")["accuracy"][0] < 1


def test_only_safetensors_and_data_come_from_the_hub(run):
    files = [(method, path) for method, path, _ in run.hub.requests if "/resolve/" in path]
    fetched = {path.rsplit("/", 1)[1] for method, path in files if method == "GET"}
    assert "model.safetensors" in fetched
    assert not {"pytorch_model.bin", "modeling_evil.py"} & fetched
    files_kept = next((run.workspace.folder / "resources/hub/llava-hf").rglob("*.files.json"))
    digests = json.loads(files_kept.read_text())
    assert {"config.json", "model.safetensors"} <= set(digests)
    assert {len(digest) for digest in digests.values()} == {64}
    note = json.loads(files_kept.with_name(files_kept.name.replace(".files", "")).read_text())
    assert note["bytes"] > 0
    revisions = {path.split("/resolve/")[1].split("/")[0] for _, path in files}
    assert revisions == {model["revision"] for model in STUDY["models"].values()}


def test_inference_needs_no_hub(run, monkeypatch, tmp_path):
    """With an empty store, so that every answer is measured again."""
    monkeypatch.setitem(run.workspace.environment, "VLMFLOW_STORE", str(tmp_path))
    run.hub.requests.clear()
    done = run.workspace.snakemake("--force", "results/flow/llama3-llava-next-8b/answers/1-of-1.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run.hub.requests == []
    log = run.results / "logs" / "answer_questions" / "llama3-llava-next-8b" / "1-of-1.log"
    assert "; 0 are in the store" in log.read_text()


def test_a_model_that_was_deleted_from_the_cache_is_fetched_again(run):
    hidden = run.cache.with_name("cache-hidden")
    run.cache.rename(hidden)
    run.hub.requests.clear()
    try:
        dry = run.workspace.snakemake("--dry-run")
        assert "Nothing to be done" in dry.stdout + dry.stderr, "results that are there need no model"
        done = run.workspace.snakemake("--force", "results/flow/llava-1.5-7b/answers/1-of-1.parquet")
    finally:
        shutil.rmtree(run.cache, ignore_errors=True)
        hidden.rename(run.cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"llava-1\.5-7b-hf/\w+\.json: .*model\.safetensors.* is gone from the hub's cache", done.stderr)
    fetched = {path for method, path, _ in run.hub.requests if method == "GET" and path.endswith(".safetensors")}
    assert len(fetched) == 1, "of the one model that a job needs"
