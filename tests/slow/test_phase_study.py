"""The studies of phases and of the thesis: in small on the demo's model, and with InstructBLIP beside a LLaVA on
captions and GQA from local servers."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import yaml

from support import tiny_models
from support.archives import write_gqa_archives
from support.paper_rows import write_gqa
from support.paths import ROOT
from support.results import assert_complete, rows_of, run_study, summary_of
from support.servers import HubHandler, serving
from support.workspace import Workspace
from vlmflow.data.coco_captions import MEMBER as COCO_CAPTIONS_MEMBER
from vlmflow.probes import probe_class
from vlmflow.study import read_study
from vlmflow.tables import ACCURACY, ANSWERS, SKIPPED

pytestmark = pytest.mark.slow

PHASE = yaml.safe_load((ROOT / "studies" / "phase.yaml").read_text())
THESIS = yaml.safe_load((ROOT / "studies" / "thesis.yaml").read_text())


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("demo"), "demo-phase.yaml", {"tokens": 15, "words": 20, "occlusion": 10})


def test_the_demo_covers_every_kind_of_probe_and_chart(demo):
    full = [read_study(content, "full") for content in (PHASE, THESIS)]
    kinds = {probe.kind for study in full for probe in study.probes.values()}
    charts = {(f.chart, getattr(f, "by", None), getattr(f, "quantity", None)) for s in full for f in s.figures.values()}
    assert kinds == {probe.kind for probe in demo.study.probes.values()}
    shown = {(f.chart, getattr(f, "by", None), getattr(f, "quantity", None)) for f in demo.study.figures.values()}
    assert {chart for chart, *_ in charts} == {chart for chart, *_ in shown}
    assert charts - shown == {("map", None, "weight")}
    assert {table.table for study in full for table in study.tables.values()} == {"curve-features"}


def test_similarity_is_corrected_and_its_phases_are_tabulated(demo):
    summary = summary_of(demo.results, demo.study, "contextualisation")
    assert set(summary["layer"]) == set(range(-1, 10))
    raw, corrected = (
        summary.filter((pl.col("quantity") == quantity) & (pl.col("pair") == "within image"))["mean"]
        for quantity in ("raw", "corrected")
    )
    # Patches of one ground are alike in all images: nearly all of it is the common direction.
    assert raw.min() > 0.5
    assert corrected.abs().max() < 0.1
    phases = probe_class("similarity").features.table.read(
        demo.results / "summary" / "contextualisation.curve-features.parquet"
    )
    assert len(phases.select("task", "prompt").unique()) == 6
    # Eleven states cannot tell four phases apart.
    assert phases["phase_count"].max() <= 3
    assert "not the paper&#39;s four (in" in demo.page
    assert 'Curve by curve: <a href="#table-phases">' in demo.page
    table = pl.read_csv(demo.results / "tables" / "phases.csv")
    assert len(table) == len(phases)
    assert set(table["Phases supported"].str.slice(0, 1)) == {str(number) for number in set(phases["phase_count"])}


def test_the_instruction_after_the_image_changes_nothing_and_before_it_does(demo):
    summary = summary_of(demo.results, demo.study, "words")
    agreement = summary.filter(pl.col("quantity") == "agreement")
    assert set(agreement.filter(pl.col("instruction_position") == "after")["mean"]) == {100.0}
    before = agreement.filter((pl.col("instruction_position") == "before") & (pl.col("instruction") != "correct"))
    assert before["mean"].min() < 95
    difference = summary.filter((pl.col("quantity") == "difference") & (pl.col("instruction_position") == "after"))
    assert set(difference["mean"]) == set(difference["low"]) == set(difference["high"]) == {0.0}
    names = summary.filter((pl.col("layer") == -1) & (pl.col("instruction") == "correct"))
    said = names.group_by("quantity").agg(pl.col("mean").min().alias("least"), pl.col("mean").max().alias("most"))
    said = {row["quantity"]: row for row in said.to_dicts()}
    # The model was trained on words for these things: their patches say them, others less.
    assert said["object"]["least"] > 1.2 * said["elsewhere"]["most"]
    assert said["object"]["least"] > 1.2 * said["shuffled"]["most"]


def test_examples_hold_words_and_images(demo):
    rows = rows_of(probe_class("visual-lens").table, demo.results / "tiny-llava" / "words", "ChooseAttr")
    kept = rows.filter(pl.col("decoded").is_not_null())
    assert kept["question_id"].n_unique() == 4
    assert set(kept["decoded"].list.len()) == {36}
    svg = (demo.results / "figures" / "words-examples" / "tiny-llava.svg").read_text()
    assert svg.count("data:image/png;base64") == 8
    assert "</text>" in svg


def test_maps_have_the_images_grid(demo):
    looks, occlusion = (summary_of(demo.results, demo.study, name) for name in ("looks", "occlusion"))
    assert set(looks["row"]) == set(looks["column"]) == set(occlusion["row"]) == set(range(6))
    whole = looks.filter((pl.col("quantity") == "weight") & (pl.col("target") == "question"))
    attention = summary_of(demo.results, demo.study, "attention")
    edge = attention.filter((pl.col("edge") == "image -> question") & (pl.col("quantity") == "weight"))
    summed = whole.group_by("task", "layer").agg(pl.col("mean").sum()).join(edge, on=["task", "layer"])
    # The same attention, patch by patch and as a whole.
    np.testing.assert_allclose(summed["mean"], summed["mean_right"], rtol=1e-5)


def test_the_loss_falls_to_the_intact_models(demo):
    summary = summary_of(demo.results, demo.study, "tokens")
    assert set(summary["tokens_requested"]) == {-1, 0, 1, 2, 4, 8, 16, 32}
    assert summary.filter(pl.col("tokens_requested") == 0)["mean"].min() > 1
    assert summary.filter(pl.col("tokens_requested") == -1)["mean"].max() < 0.2
    knees = probe_class("budget").features.table.read(demo.results / "summary" / "tokens.curve-features.parquet")
    assert len(knees) == 2 * 2 * 3
    assert knees["tokens_for_95_percent"].min() >= 8
    assert demo.page.count("% of the decrease takes") == 1, "two figures show these curves"


def test_a_figure_that_is_changed_draws_that_figure_alone(demo):
    changed = json.loads(json.dumps(demo.content))
    changed["figures"]["prompts"]["title"] = "Another title"
    assert demo.workspace.plan(changed) == {"draw_figure": 1, "write_report": 1, "all": 1, "total": 3}


# --- InstructBLIP and a LLaVA, on captions and GQA from elsewhere ---

IMAGES = 6
WORD = "left"
TASKS = ["COCO", "Winoground", "ChooseRel"]


def small_thesis(server):
    """The study with two models, three tasks and a figure of each chart; everything else is as it is."""
    study = json.loads(json.dumps(THESIS))
    charts = {figure["chart"] + figure["probe"]: name for name, figure in reversed(study["figures"].items())}
    study["figures"] = {name: figure for name, figure in study["figures"].items() if name in charts.values()}
    study["dataset"] = {"source": "gqa", "base_url": f"{server.url}/gqa"}
    captions = {"source": "coco-captions", "url": f"{server.url}/captions.zip", "coco_url": f"{server.url}/coco"}
    study["tasks"]["COCO"] = {"dataset": captions}
    study["tasks"] = {name: study["tasks"][name] for name in TASKS}
    study["models"] = {name: study["models"][name] for name in ("llava-1.5-7b", "instructblip-vicuna-7b")}
    for model in study["models"].values():
        model |= {"dtype": "float32", "gpus": 0}
        model.pop("revision", None)
    for probe in study["probes"].values():
        if "tasks" in probe:
            probe["tasks"] = [name for name in TASKS if name in probe["tasks"]]
    study["probes"]["occlusion"]["grid"] = 3  # the small model's images are nine patches
    return study


def serve(served, gqa):
    write_gqa_archives(served / "gqa", gqa)
    annotations = [
        {"id": 100 + number, "image_id": number, "caption": f"A cup on the {WORD} of the image {number}."}
        for number in range(IMAGES)
    ]
    with zipfile.ZipFile(served / "captions.zip", "w") as archive:
        archive.writestr(COCO_CAPTIONS_MEMBER, json.dumps({"annotations": annotations, "images": []}))
    for number in range(IMAGES):
        path = served / "coco" / f"val2017/{number:012d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((gqa / "images" / f"{number}.jpg").read_bytes())


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    base = tmp_path_factory.mktemp("thesis")
    gqa, served = base / "gqa", base / "served"
    write_gqa(gqa, images=IMAGES)
    serve(served, gqa)
    texts = [entry["question"] for entry in json.loads((gqa / "questions.json").read_text()).values()]
    texts += [*(text for probe in THESIS["probes"].values() for text in probe.get("prompts", {}).values()), WORD]
    hub = served / "hub"
    tiny_models.save(hub / THESIS["models"]["llava-1.5-7b"]["path"], "llava", "vicuna_v1", texts, WORD)
    tiny_models.save_instructblip(hub / THESIS["models"]["instructblip-vicuna-7b"]["path"], texts, WORD)
    with serving(served) as server, serving(hub, HubHandler) as models:
        (hub / "datasets/facebook/winoground/data").mkdir(parents=True)
        (hub / "datasets/facebook/winoground/data/examples.jsonl").write_text("{}")
        models.faults.gated["datasets/facebook/winoground"] = "somebody else's token"
        (base / "work").mkdir()
        workspace = Workspace(base / "work", HF_ENDPOINT=models.url, HF_HOME=str(base / "cache"), HF_TOKEN="")
        study = small_thesis(server)
        workspace.write(study)
        done = workspace.snakemake()
        assert done.returncode == 0, done.stdout + done.stderr
        read = read_study(study, "thesis.yaml")
        results, page = assert_complete(workspace, read)
        yield SimpleNamespace(study=read, results=results, page=page, log=done.stdout + done.stderr)


def test_captions_are_described_and_nothing_is_correct_or_wrong(elsewhere):
    answers = rows_of(ANSWERS, elsewhere.results / "llava-1.5-7b" / "answers", "COCO")
    assert len(answers) == IMAGES
    assert answers["correct"].null_count() == IMAGES
    accuracy = ACCURACY.read(elsewhere.results / "summary" / "answers.parquet")
    described = accuracy.filter(pl.col("task") == "COCO")
    assert described["accuracy"].null_count() == len(described) == 2
    rows = rows_of(probe_class("budget").table, elsewhere.results / "llava-1.5-7b" / "tokens", "COCO")
    assert rows["question_id"].n_unique() == IMAGES
    assert set(rows["prompt"]) == {"describe", "shows", "caption"}


def test_winoground_without_access_is_reported_and_stops_nothing(elsewhere):
    skipped = SKIPPED.read(elsewhere.results / "summary" / "skipped.parquet")
    reason = skipped.filter(pl.col("question_id") == "winoground")["reason"][0]
    assert "huggingface.co/datasets/facebook/winoground" in reason
    assert reason.split(";")[0][:40] in elsewhere.page.replace("&#39;", "'")
    summary = summary_of(elsewhere.results, elsewhere.study, "tokens")
    assert "Winoground" not in set(summary.filter(pl.col("questions") > 0)["task"])


def test_probes_of_patches_do_not_apply_to_instructblip(elsewhere):
    for probe in ("occlusion", "looks"):
        summary = summary_of(elsewhere.results, elsewhere.study, probe)
        mine = summary.filter((pl.col("model") == "instructblip-vicuna-7b") & pl.col("note").is_not_null())
        assert len(mine)
        assert all("patches do not apply: InstructBlipProcessor makes 4 query tokens" in note for note in mine["note"])
        assert summary.filter(pl.col("model") == "llava-1.5-7b")["mean"].is_not_null().any()
    for figure in ("occlusion", "looks", "looks-examples", "occlusion-examples", "words-examples", "names"):
        svg = (elsewhere.results / "figures" / figure / "instructblip-vicuna-7b.svg").read_text()
        assert "atches do not apply: InstructBlipProcessor" in svg, figure
    lens = summary_of(elsewhere.results, elsewhere.study, "words").filter(pl.col("model") == "instructblip-vicuna-7b")
    assert set(lens["quantity"]) >= {"entropy", "words", "agreement"}
    assert not {"object", "elsewhere"} & set(lens.filter(pl.col("mean").is_not_null())["quantity"])
    # Its query tokens read the question, so that another question changes them.
    changed = lens.filter((pl.col("quantity") == "entropy") & (pl.col("layer") == -1))
    assert changed.filter(pl.col("instruction") == "correct")["mean"][0] != pytest.approx(
        changed.filter(pl.col("instruction") == "none")["mean"][0], rel=1e-6
    )


def test_budgets_of_query_tokens(elsewhere):
    summary = summary_of(elsewhere.results, elsewhere.study, "tokens")
    mine = summary.filter((pl.col("model") == "instructblip-vicuna-7b") & (pl.col("task") == "COCO"))
    assert set(mine["tokens_requested"]) == {-1, 0, 1, 2}
    assert mine.filter(pl.col("tokens_requested") == -1)["tokens_kept"].unique().to_list() == [4.0]
