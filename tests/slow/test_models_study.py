"""studies/models-2026.yaml with small models of its families in their place, on drawn scenes."""

import json
from types import SimpleNamespace

import polars as pl
import pytest
import torch
import yaml
from PIL import Image

from support import tiny_models
from support.families.all import FAMILIES
from support.paths import ROOT
from support.results import assert_complete, summary_of
from support.workspace import Workspace
from vlmflow import load_model
from vlmflow.study import read_study
from vlmflow.tables import PATCHES, SKIPPED

pytestmark = pytest.mark.slow

STUDY = yaml.safe_load((ROOT / "studies" / "models-2026.yaml").read_text())
IN_PLACE_OF = {
    "qwen2.5-vl-7b": "Qwen2.5-VL",
    "qwen3-vl-8b": "Qwen3-VL",
    "internvl3-8b": "InternVL",
    "gemma-3-12b": "Gemma 3",
    "llava-onevision-7b": "LLaVA-OneVision",
    "smolvlm2-2.2b": "SmolVLM",
    "idefics3-8b": "Idefics3",
    "paligemma2-3b": "PaliGemma",
}
# Two more, whose image tokens are measured and of which some layers have no attention.
MORE = {"minicpm": "MiniCPM-V 4.6", "qwen3.5": "Qwen3.5"}
WORD = "yes"
# Linear attention is so strong in a random model that the word has to stand out more.
LOUD = {"Qwen3.5": 60}


def build(name, folder, template):
    """A small model of the family that says one word."""
    FAMILIES[name].build(folder)
    vlm = load_model(folder, device="cpu", template=template)
    unembedding = vlm.model.get_output_embeddings()
    unembedding.weight = torch.nn.Parameter(unembedding.weight.detach().clone())
    vlm.model.config.get_text_config().tie_word_embeddings = vlm.model.config.tie_word_embeddings = False
    last = int(vlm.prompt(Image.new("RGB", (60, 60)), "?").inputs["input_ids"][0, -1])
    torch.manual_seed(0)
    tiny_models.say(vlm.model, vlm.processor.tokenizer, WORD, vlm.processor, last, loud=LOUD.get(name, 6))
    vlm.model.save_pretrained(folder)


def small_study(folder):
    """The study as it is, on drawn scenes, with small models, and windows that they have layers for."""
    study = json.loads(json.dumps(STUDY))
    study["dataset"] = {"source": "synthetic", "images": 40, "seed": 0}
    study["tasks"] = {name: study["tasks"][name] for name in ("LogicalObj", "ChooseAttr")}
    study["sample"] = {"per_task": 8, "candidates": 24, "seed": 0}
    for name in MORE:
        study["models"][name] = {}
    for name, model in study["models"].items():
        template = model.get("template", "own")
        build(({**IN_PLACE_OF, **MORE})[name], folder / name, template)
        model.pop("revision", None)
        model |= {"path": str(folder / name), "dtype": "float32"}
    for probe in study["probes"].values():
        if probe["kind"] == "knockout":
            if isinstance(probe["window"], list):
                probe["window"] = [1, 3]
            probe["questions"] = 6
    study["probes"]["map"]["questions"] = 6
    study["figures"]["atlas"]["window"] = 3
    return study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    (base / "work").mkdir()
    content = small_study(base / "hub")
    workspace = Workspace(base / "work")
    workspace.write(content)
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    study = read_study(content, "models-2026.yaml")
    results, _ = assert_complete(workspace, study)
    return SimpleNamespace(study=study, workspace=workspace, results=results)


def test_related_patches_are_known_for_every_family(run):
    for model in run.study.models:
        patches = PATCHES.read(run.results / model / "patches.parquet")
        assert len(patches) > 40, model
        assert patches["related"].list.len().min() > 0, model
    summary = summary_of(run.results, run.study, "flow")
    related = summary.filter(pl.col("edge").str.contains("patches"))
    assert related["edge"].n_unique() == 3
    control = pl.col("edge").str.contains("as many")
    assert related.filter(~control, task="LogicalObj")["mean"].is_not_null().all()


def test_the_atlas_has_the_tokens_around_the_image(run):
    summary = summary_of(run.results, run.study, "atlas").filter(task="LogicalObj")
    measured = summary.filter(pl.col("mean").is_not_null())
    with_separators = measured.filter(pl.col("edge").str.contains("image separators"))["model"].unique().sort()
    assert with_separators.to_list() == ["idefics3-8b", "smolvlm2-2.2b"]
    assert set(measured.filter(pl.col("edge").str.contains("after image"))["model"]) == set(run.study.models)


def test_every_family_has_a_map_of_attention_but_a_hybrid(run):
    summary = summary_of(run.results, run.study, "map")
    mapped = summary.filter(pl.col("mean").is_not_null())
    assert set(mapped["model"]) == set(run.study.models) - {"qwen3.5"}
    skipped = SKIPPED.read(run.results / "summary" / "skipped.parquet").filter(stage="map", model="qwen3.5")
    assert skipped["reason"].str.contains("does not allow its attention function to be replaced").any()


def test_measured_patch_maps_are_kept_in_the_store(run):
    """Those of the family that no layout fits, one per size of image; its job loads the model only for them."""
    folders = list((run.workspace.folder / "results" / "store" / "patch-maps").iterdir())
    kept = [pl.read_parquet(path) for folder in folders for path in folder.glob("*.parquet")]
    sizes = {Image.open(path).size for path in (run.workspace.folder / "resources").rglob("synthetic*/**/*.png")}
    assert len(folders) == 1
    assert sum(map(len, kept)) == len(sizes)
    again = run.workspace.snakemake("--forcerun", "map_patches", "--until", "map_patches")
    assert again.returncode == 0, again.stdout + again.stderr
    after = [path for folder in folders for path in folder.glob("*.parquet")]
    assert [len(pl.read_parquet(path)) for path in after] == [len(each) for each in kept], "nothing is measured again"


def test_a_window_without_attention_is_no_row(run):
    summary = summary_of(run.results, run.study, "atlas").filter(model="qwen3.5", window=1)
    assert set(summary["layer"]) == {3}
