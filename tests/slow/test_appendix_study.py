"""The appendices' studies: in small on the demo's model, and with data and models from elsewhere on local servers."""

import json
import re
import zipfile
from types import SimpleNamespace

import polars as pl
import pytest
import yaml

from support import tiny_models
from support.archives import write_gqa_archives, write_tar
from support.language_model import save_language_model
from support.paper_rows import write_gqa
from support.paths import ROOT
from support.results import assert_complete, rows_of, run_study, summary_of
from support.servers import HubHandler, serving
from support.workspace import Workspace
from vlmflow.edges import ALL_EDGES
from vlmflow.probes import KnockoutProbe, probe_class
from vlmflow.study import read_study
from vlmflow.tables import ANSWERS, QUESTIONS, SKIPPED

pytestmark = pytest.mark.slow

FULL = yaml.safe_load((ROOT / "studies" / "flow-appendix.yaml").read_text())


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("demo"), "demo-appendix.yaml", {"fine-grained": 20, "atlas": 8})


def test_the_demo_covers_every_kind_of_probe_and_chart(demo):
    full = read_study(FULL, "flow-appendix.yaml")
    assert {probe.kind for probe in full.probes.values()} - {p.kind for p in demo.study.probes.values()} == {"lens"}
    assert {f.chart for f in full.figures.values()} - {f.chart for f in demo.study.figures.values()} == {"lens"}


def test_wider_windows_cost_more(demo):
    summary = summary_of(demo.results, demo.study, "windows")
    assert summary["window"].unique().sort().to_list() == [1, 3, 5, 7, 9]
    deepest = summary.group_by("window").agg(pl.col("mean").min()).sort("window")["mean"].to_list()
    assert deepest[-1] < deepest[0], "a wider window costs more"


def test_an_answer_of_one_sub_word_is_counted_as_such(demo):
    rows = rows_of(KnockoutProbe.table, demo.results / "tiny-llava" / "last-sub-word", "QueryAttr")
    assert set(rows["sub_words"]) == {1}
    assert set(summary_of(demo.results, demo.study, "last-sub-word")["multi_token_answers"]) == {0}
    assert "0 with several sub-words" in (
        demo.results / "figures" / "last-sub-word-image" / "tiny-llava.svg"
    ).read_text().replace("\u00a0", " ")


def test_edges_that_do_not_apply_have_their_reason_in_the_summary(demo):
    summary = summary_of(demo.results, demo.study, "fine-grained")
    absent = summary.filter(pl.col("mean").is_null() & (pl.col("task") == "QueryAttr"))
    assert {"true option -> last", "image -> question without options"} <= set(absent["edge"])
    assert all("it was built without options" in note for note in absent["note"])
    assert set(absent["questions"]) == {0}
    choose = summary.filter(pl.col("task") == "ChooseAttr")
    assert choose["note"].null_count() == len(choose)
    assert set(choose["edge"]) == set(demo.study.probes["fine-grained"].edges)
    assert "does not apply: this prompt has no &#39;true option&#39;" in demo.page


def test_sinks_are_the_patches_above_the_quantile(demo):
    log = (demo.results / "logs/run_probe/tiny-llava/without-sinks/1-of-1.log").read_text()
    counts = re.findall(r"^(\d+) of (\d+) patches have a norm above", log, re.MULTILINE)
    for task, (count, patches) in zip(demo.study.tasks_of("without-sinks"), counts, strict=True):
        norms = rows_of(probe_class("norms").table, demo.results / "tiny-llava" / "norms", task)
        assert set(norms["norms"].list.len()) == {36}
        assert int(patches) == 36 * len(norms)
        assert int(count) == pytest.approx(0.01 * 36 * len(norms), abs=1.5)
    skipped = SKIPPED.read(demo.results / "summary" / "skipped.parquet").filter(pl.col("stage") == "without-sinks")
    lost = skipped.filter(pl.col("what") == "sinks -> question")
    assert lost["reason"].str.contains("this prompt has no 'sinks': no token is left", literal=True).any()


def test_pruning_begins_with_the_models_own_accuracy(demo):
    answers = rows_of(ANSWERS, demo.results / "tiny-llava" / "answers", "QueryAttr")
    rows = rows_of(probe_class("pruning").table, demo.results / "tiny-llava" / "pruning", "QueryAttr")
    intact = rows.filter(pl.col("layers_dropped") == 0).join(answers, on="question_id", suffix=" answered")
    assert (intact["predicted"] == intact["predicted answered"]).all()
    assert rows["time_share"].drop_nulls().len() == 4 * 8  # questions × numbers of layers, but for all layers
    accuracy = summary_of(demo.results, demo.study, "pruning").filter(pl.col("quantity") == "accuracy")
    assert accuracy.filter(pl.col("layers_dropped") == 2)["mean"].min() > 95
    assert accuracy.filter(pl.col("layers_dropped") == 10)["mean"].max() < 75


def test_captions_are_read_by_the_language_model_alone(demo):
    assert not (demo.results / "tiny-llava-text" / "patches.parquet").exists()
    assert set(summary_of(demo.results, demo.study, "captions")["model"]) == {"tiny-llava-text"}
    assert "reads captions" in demo.page


def test_the_atlas_holds_every_edge(demo):
    summary = summary_of(demo.results, demo.study, "atlas").filter(pl.col("task") == "ChooseAttr")
    assert set(summary["edge"]) == set(ALL_EDGES)
    # No token stands around the image in this model's prompt.
    around = pl.col("edge").str.contains("image separators|after image")
    assert set(summary.filter(~around)["questions"]) == {8}
    assert set(summary.filter(around)["questions"]) == {0}
    spec = (demo.results / "figures" / "atlas" / "tiny-llava.html").read_text()
    assert '"input": "select"' in spec or '"input":"select"' in spec
    assert "Ranks of the paper&#39;s edges by this effect" in demo.page


# --- data and models from elsewhere ---

WORD = "left"
IMAGES = 6
ABSENT = 3  # image of COCO


def small_appendix(server):
    """The study with two of its models and tasks that small models can answer; everything else is as it is."""
    study = json.loads(json.dumps(FULL))
    study["dataset"] = {
        "source": "gqa",
        "base_url": f"{server.url}/gqa",
        "captions": "visual-genome",
        "captions_url": f"{server.url}/vg/region_descriptions.json.zip",
    }
    for task, source, key in (("OK-VQA", "ok-vqa", "base_url"), ("A-OKVQA", "a-okvqa", "url")):
        address = f"{server.url}/okvqa" if task == "OK-VQA" else f"{server.url}/aokvqa_v1p0.tar.gz"
        study["tasks"][task] = {"dataset": {"source": source, key: address, "coco_url": f"{server.url}/coco"}}
    kept = ["ChooseRel", "OK-VQA", "A-OKVQA"]
    study["tasks"] = {name: study["tasks"][name] for name in kept}
    study["models"] = {name: study["models"][name] for name in ("llava-v1.6-vicuna-13b", "vicuna-13b")}
    for model in study["models"].values():
        model["dtype"] = "float32"
    absent = [name for name in study["probes"] if name.endswith(("-32", "-tuned"))]  # of other models
    study["probes"] = {name: probe for name, probe in study["probes"].items() if name not in absent}
    study["figures"] = {name: figure for name, figure in study["figures"].items() if figure["probe"] not in absent}
    for probe in study["probes"].values():
        if "tasks" in probe:
            probe["tasks"] = [name for name in kept if name in probe["tasks"]] or ["ChooseRel"]
        if "models" in probe:
            probe["models"] = ["llava-v1.6-vicuna-13b"]
    for name in ("F32", "F33"):
        study["claims"][name] = {}
    for claim in study["claims"].values():
        claim.pop("models", None)
        if "second_model" in claim:
            claim["second_model"] = "llava-v1.6-vicuna-13b"
    study["probes"]["without-sinks"]["sinks"] = {"norms": "norms", "quantile": 0.9}
    study["probes"]["atlas"] |= {"window": [9, 15], "questions": 2}
    return study


def serve_everything(served, gqa):
    """GQA's archives, Visual Genome's regions, OK-VQA, A-OKVQA, COCO's images, and the two models."""
    write_gqa_archives(served / "gqa", gqa)
    (served / "vg").mkdir()
    with zipfile.ZipFile(served / "vg" / "region_descriptions.json.zip", "w") as archive:
        archive.write(gqa / "region_descriptions.json", "region_descriptions.json")
    numbers = range(IMAGES)
    questions = [{"image_id": n, "question_id": 10 + n, "question": "Which side is the cup on?"} for n in numbers]
    given = [
        {"question_id": 10 + n, "image_id": n, "question_type": "one", "answers": [{"answer": WORD}, {"answer": "x"}]}
        for n in numbers
    ]
    (served / "okvqa").mkdir()
    for name, key, content in (
        ("OpenEnded_mscoco_val2014_questions.json", "questions", questions),
        ("mscoco_val2014_annotations.json", "annotations", given),
    ):
        with zipfile.ZipFile(served / "okvqa" / f"{name}.zip", "w") as archive:
            archive.writestr(name, json.dumps({key: content}))
    direct = [
        {"image_id": n, "question_id": f"a{n}", "question": "Where is it?", "direct_answers": ["y", WORD, WORD]}
        for n in numbers
    ]
    write_tar(served / "aokvqa_v1p0.tar.gz", {"./aokvqa_v1p0_val.json": json.dumps(direct).encode()})
    for name in ("val2014/COCO_val2014_{:012d}.jpg", "val2017/{:012d}.jpg"):
        for number in set(numbers) - {ABSENT}:
            path = served / "coco" / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((gqa / "images" / f"{number}.jpg").read_bytes())


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    base = tmp_path_factory.mktemp("appendix")
    gqa, served = base / "gqa", base / "served"
    write_gqa(gqa, images=IMAGES)
    serve_everything(served, gqa)
    texts = [entry["question"] for entry in json.loads((gqa / "questions.json").read_text()).values()]
    hub = served / "hub"
    llava, vicuna = (FULL["models"][name] for name in ("llava-v1.6-vicuna-13b", "vicuna-13b"))
    tiny_models.save(hub / llava["path"], "llava_next", "vicuna_v1", [*texts, WORD], WORD, layers=40)
    save_language_model(hub / vicuna["path"], texts=[*texts, WORD], answer=WORD, layers=40)
    with serving(served) as server, serving(hub, HubHandler) as models:
        (base / "work").mkdir()
        workspace = Workspace(base / "work", HF_ENDPOINT=models.url, HF_HOME=str(base / "cache"))
        study = small_appendix(server)
        workspace.write(study)
        done = workspace.snakemake("--resources", "gpu=4")
        assert done.returncode == 0, done.stdout + done.stderr
        read = read_study(study, "flow-appendix.yaml")
        results, page = assert_complete(workspace, read)
        yield SimpleNamespace(workspace=workspace, study=read, results=results, page=page, server=server, hub=models)


def test_edges_of_patches_are_left_out_without_boxes(elsewhere):
    """Without boxes: the edges of patches are left out with a note; the others are measured."""
    questions = QUESTIONS.read(elsewhere.results / "questions" / "OK-VQA.parquet")
    assert set(questions["answer"]) == {WORD}
    for task in ("OK-VQA", "A-OKVQA"):
        summary = summary_of(elsewhere.results, elsewhere.study, "knowledge").filter(pl.col("task") == task)
        absent = summary.filter(pl.col("mean").is_null())
        assert set(absent["edge"]) == {"related patches -> question", "other patches -> question"}
        assert all("without boxes" in note for note in absent["note"])
        measured = summary.filter(pl.col("mean").is_not_null())
        assert set(measured["edge"]) == {"question -> last", "image -> last", "last -> last", "image -> question"}
        assert set(measured["questions"]) == {IMAGES - 1}
    skipped = SKIPPED.read(elsewhere.results / "summary" / "skipped.parquet").filter(pl.col("stage") == "images")
    assert len(skipped) == 2
    assert skipped["reason"].str.contains("the server answers 404").all()


def test_only_images_of_questions_are_fetched(elsewhere):
    fetched = {path for method, path, _ in elsewhere.server.requests if "/coco/" in path}
    assert len(fetched) == 2 * IMAGES
    assert len(list((elsewhere.workspace.folder / "resources/coco").rglob("*.jpg"))) == 2 * (IMAGES - 1)


def test_vicuna_reads_visual_genomes_captions(elsewhere):
    answers = rows_of(ANSWERS, elsewhere.results / "vicuna-13b" / "answers")
    assert set(answers["predicted"]) == {WORD}
    assert set(answers["task"]) == {"ChooseRel"}, "no probe asks for another one"
    summary = summary_of(elsewhere.results, elsewhere.study, "captions")
    assert set(summary["edge"]) == {"caption -> last", "question -> last", "caption -> question"}
    assert summary["mean"].null_count() == 0
    paths = [path for _, path, _ in elsewhere.hub.requests if "vicuna-13b-v1.5" in path]
    assert any("/revision/refs/pr/5" in path for path in paths)


def test_a_window_that_is_larger_than_a_fetched_model_is_named_before_any_job(elsewhere):
    study = json.loads(json.dumps(small_appendix(elsewhere.server)))
    study["probes"]["windows"]["window"] = [1, 41]
    study["claims"] = {}
    elsewhere.workspace.write(study, "wide.yaml")
    done = elsewhere.workspace.snakemake("--dry-run", study="wide.yaml")
    assert done.returncode != 0
    assert "probes.windows.window: 41 is more than the 40 layers of the model" in done.stdout + done.stderr
