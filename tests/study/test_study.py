"""The study file: what is accepted, and what is said about mistakes."""

import json
from pathlib import Path

import pytest
import yaml

from support.paths import ROOT
from support.studies import DEMO, changed_demo
from vlmflow.edges import ALL_EDGES, FLOW_EDGES
from vlmflow.errors import StudyError
from vlmflow.study import Model, Study, read_study


def test_the_default_study_is_the_papers_six_edges_and_tasks():
    study = read_study(DEMO, "config.yaml")
    assert len(study.tasks) == 6
    control = "other patches, as many as related -> question"
    assert study.probes["flow"].edges == [*FLOW_EDGES, control]


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        ("smaple", {}, ["smaple: there is no such key here"]),
        ("tasks", None, ["tasks: this key is missing"]),
        ("probes/flow/window", 4, ["probes.flow.window: 4 is even"]),
        ("probes/flow/window", 0, ["probes.flow.window", "greater than or equal to 1", "0"]),
        (
            "probes/flow/edges",
            ["image -> anwser"],
            ["probes.flow.edges.0", "unknown segment 'anwser'", "choose from image, related patches"],
        ),
        ("probes/flow/edges", ["last -> image"], ["did you mean 'image -> last'"]),
        ("probes/flow/edges", ["image question"], ["write 'source -> target'"]),
        ("probes/flow/kind", "knockuot", ["probes.flow", "'knockout', 'lens'"]),
        ("dataset/source", "coco", ["dataset", "'synthetic', 'gqa'"]),
        ("dataset/images", 0, ["dataset.images", "greater than or equal to 1"]),
        ("tasks/ChooseAttr/structural", "chose", ["tasks.ChooseAttr.structural", "'choose'", "'chose'"]),
        ("models/tiny-llava/dtype", "half", ["models.tiny-llava.dtype", "'float16'", "'half'"]),
        ("models/tiny-llava/device", "cuda", ["models.tiny-llava.device: there is no such key here"]),
        ("models/summary", {"path": "x"}, ["'summary' is taken by a file or folder"]),
        ("models/store", {"path": "x"}, ["'store' is taken by a file or folder"]),
        ("study", "store", ["study: name 'store' is taken by a file or folder"]),
        ("probes/model", {"kind": "lens"}, ["'model' is taken by a file or folder"]),
        ("models/tiny-llava/shards", 0, ["models.tiny-llava.shards", "greater than or equal to 1"]),
        ("models/a b", {"path": "x"}, ["use letters, digits"]),
        ("models/x-narrow", {"path": "x"}, ["is taken by a file or folder"]),
        ("dataset", {"source": "gqa", "images": "x"}, ["dataset.images: there is no such key here"]),
        ("dataset", {"source": "gqa", "questions": "x"}, ["dataset: scene_graphs: give both files"]),
        ("dataset", {"source": "gqa", "questions": "x", "scene_graphs": "x"}, ["images_dir: give the folder"]),
        ("dataset", {"source": "gqa", "base_url": "ftp://x"}, ["dataset.base_url: 'ftp://x' is not a web address"]),
        ("dataset", {"source": "gqa-paper", "sha256": {"a.csv": "12"}}, ["dataset.sha256.a.csv"]),
        ("dataset", {"source": "gqa-paper", "sha256": {"../a.csv": "0" * 64}}, ["dataset.sha256.../a.csv"]),
        ("models/tiny-llava/revision", "../../x", ["models.tiny-llava.revision", "'../../x'"]),
        ("models/tiny-llava/template", "vicuna_v2", ["'vicuna_v2' is not a template", "vicuna_v1, llava_llama_3"]),
        ("models/tiny-llava/fit", "squeeze", ["models.tiny-llava.fit", "'pad'", "'squeeze'"]),
        ("models/tiny-llava/gpus", -1, ["models.tiny-llava.gpus", "greater than or equal to 0"]),
        ("sample/answered_by", "llava", ["sample.answered_by: there is no model 'llava'; choose from tiny-llava"]),
        ("tables", {"t": {"table": "accuracy", "model": "llava"}}, ["tables.t.model: there is no model 'llava'"]),
        ("tables", {"t": {"table": "accuracy", "modle": "x"}}, ["tables.t.modle: there is no such key here"]),
        (
            "tables",
            {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": {"source": "gqa", "spilt": "val"}}},
            ["tables.t.dataset.spilt: there is no such key here"],
        ),
        ("models/flow", {"path": "x"}, ["a probe and a model have the same name"]),
        ("figures/answer-words/probe", "lens", ["there is no probe 'lens'; choose from flow, tracking"]),
        ("figures/answer-words/probe", "flow", ["cannot draw the probe 'flow'", "use 'flow'"]),
        ("figures/image-to-question/edges", ["image -> template"], ["not measured by the probe 'flow'; add it"]),
        ("figures/answer-words/probe", "flow", ["use 'flow' or 'windows' or 'atlas'"]),
        (
            "figures/image-to-question/window",
            5,
            ["figures.image-to-question.window: the probe 'flow' measures the windows 3, not 5"],
        ),
        (
            "probes/flow/window",
            [1, 3],
            ["figures.answer-position.window: this key is missing; the probe has the windows 1"],
        ),
        ("probes/flow/window", [3, 3], ["probes.flow.window: window 3 is given 2 times"]),
        ("probes/flow/window", [3, 4], ["probes.flow.window: 4 is even"]),
        ("probes/flow/window", [], ["probes.flow.window", "at least 1 item"]),
        ("probes/flow/edges", ["image -> last", "image->last"], ["edge 'image -> last' is given 2 times"]),
        ("probes/flow/token", "middle", ["probes.flow.token", "'first', 'last' or 'all'"]),
        ("probes/flow/models", ["llava"], ["probes.flow.models: there is no model 'llava'; choose from tiny-llava"]),
        ("probes/flow/tasks", ["Choose"], ["probes.flow.tasks: there is no task 'Choose'; choose from ChooseAttr"]),
        (
            "probes/flow/edges",
            ["sinks -> last"],
            ["probes.flow: sinks: this key is missing; it says which patches 'sinks'"],
        ),
        ("probes/flow/sinks", {"norms": "n", "above": 1}, ["sinks: no edge has one of the segments sinks"]),
        ("probes/flow/sinks", {"norms": "n"}, ["probes.flow.sinks: give either above (a norm) or quantile"]),
        ("probes/flow/sinks", {"norms": "n", "quantile": 1}, ["probes.flow.sinks.quantile", "less than 1"]),
        ("probes/flow/edges", ["caption -> last"], ["probes.flow: no model of the study reads captions; add one with"]),
        ("probes/flow/edges", ["caption -> last", "image -> last"], ["no prompt has both 'image' and 'caption'"]),
        ("models/tiny-llava/reads", "captions", ["probes.flow: no model of the study reads image"]),
        ("models/tiny-llava/reads", "text", ["models.tiny-llava.reads", "'image' or 'captions'"]),
        ("probes/words", {"kind": "words"}, ["probes.words: modules, edges: give at least one of the two"]),
        ("probes/words", {"kind": "words", "modules": ["mpl"]}, ["probes.words.modules.0", "'attention' or 'mlp'"]),
        ("probes/words", {"kind": "words", "edges": ["image -> question"], "window": 2}, ["window: 2 is even"]),
        (
            "probes/words",
            {"kind": "words", "edges": ["image -> last"]},
            ["changes nothing at the question's positions"],
        ),
        (
            "probes/pruning",
            {"kind": "pruning", "layers_dropped": [5, 10]},
            ["probes.pruning: layers_dropped: 0 is missing, the intact model"],
        ),
        ("probes/flow/edges", "al", ["probes.flow.edges: 'al': give a list of edges, or the word all"]),
        ("probes/flow/models", ["tiny-llava", "tiny-llava"], ["model 'tiny-llava' is given 2 times"]),
        (
            "tasks/H",
            {"dataset": {"source": "a-okvqa", "url": "https://x/y"}},
            ["tasks.H.dataset.url", "not the address of a"],
        ),
        ("models/r", {"path": "x", "reads": "captions", "fit": "pad"}, ["models.r: fit: this model reads captions"]),
        ("probes/pruning", {"kind": "pruning", "layers_dropped": [1, 1]}, ["number of layers 1 is given 2 times"]),
        (
            "probes/pruning",
            {"kind": "pruning", "layers_dropped": [-1]},
            ["probes.pruning.layers_dropped.0", "greater than or equal to 0"],
        ),
        ("tasks/ChooseAttr/structural", None, ["tasks.ChooseAttr.structural: this key is missing; only a task with"]),
        (
            "tasks/H",
            {"dataset": {"source": "ok-vqa", "spilt": 1}},
            ["tasks.H.dataset.spilt: there is no such key here"],
        ),
        ("dataset", {"source": "coco-captions", "url": "https://x/y.tar.gz"}, ["not the address of a .zip archive"]),
        ("dataset", {"source": "coco-captions", "prompt": " "}, ["dataset.prompt", "but it is ' '"]),
        ("dataset", {"source": "coco-captions", "repository": "a/b"}, ["dataset.repository: there is no such key"]),
        ("dataset", {"source": "winoground", "repository": "../x"}, ["dataset.repository", "'../x'"]),
        ("dataset", {"source": "winoground", "revision": "a//b"}, ["dataset.revision", "'a//b'"]),
        ("dataset", {"source": "winoground", "images_dir": "x"}, ["dataset.images_dir: there is no such key here"]),
    ],
)
def test_mistakes_are_named(path, value, messages):
    with pytest.raises(StudyError) as error:
        read_study(changed_demo(path, value), "mine.yaml")
    text = str(error.value)
    assert "mine.yaml has" in text
    for message in messages:
        assert message in text


SINKS = {"kind": "knockout", "window": 3, "edges": ["sinks -> question"], "sinks": {"norms": "norms", "above": 57}}


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        (None, r"probes\.sinks\.sinks\.norms: there is no probe 'norms' of kind norms; add one"),
        ({"kind": "lens"}, r"there is no probe 'norms' of kind norms"),
        (
            {"kind": "norms", "tasks": ["ChooseAttr"]},
            r"probes\.norms\.tasks: the probe 'sinks' needs its norms for 'Cho",
        ),
        (
            {"kind": "norms", "questions": 5},
            r"probes\.norms\.questions: the probe 'sinks' needs the norms of all question",
        ),
    ],
)
def test_sinks_need_their_norms(norms, message):
    config = changed_demo("probes/sinks", SINKS)
    if norms is not None:
        config["probes"]["norms"] = norms
    with pytest.raises(StudyError, match=message):
        read_study(config, "mine.yaml")


def test_a_probe_is_run_where_it_fits():
    config = changed_demo(
        "probes/text", {"kind": "knockout", "window": 3, "edges": ["caption -> last"], "tasks": ["ChooseRel"]}
    )
    config["models"]["reader"] = {"path": "x", "reads": "captions"}
    config["probes"]["both"] = {"kind": "knockout", "edges": ["question -> last"], "window": 3}
    study = read_study(config, "mine.yaml")
    assert Study.model_validate(study.model_dump(mode="json")) == study, "as the report's job gets it"
    assert study.models_of("flow") == ["tiny-llava"]
    assert study.models_of("text") == ["reader"]
    assert study.models_of("both") == ["tiny-llava", "reader"]
    assert study.tasks_of("text") == ["ChooseRel"]
    assert study.tasks_of("flow") == list(study.tasks)
    config["probes"]["text"]["models"] = ["tiny-llava"]
    with pytest.raises(StudyError, match=r"probes\.text\.models: 'tiny-llava' reads image, but this probe is about"):
        read_study(config, "mine.yaml")


def test_the_word_all_stands_for_every_edge():
    study = read_study(changed_demo("probes/atlas", {"kind": "knockout", "edges": "all"}), "mine.yaml")
    assert study.probes["atlas"].edges == list(ALL_EDGES)


def test_a_path_is_a_folder_or_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "model").mkdir(parents=True)
    hub = Model(path="owner/name", revision="abc")
    assert hub.folder is None
    assert hub.fetched == "resources/hub/owner/name/abc.json"
    assert Model(path="mine/model").folder == Path("mine/model")
    assert Model(path="./owner/name").folder == Path("./owner/name")


def test_all_mistakes_are_reported_at_once():
    config = changed_demo("probes/flow/window", 2)
    config["extra"] = 1
    with pytest.raises(StudyError, match="2 mistake"):
        read_study(config, "mine.yaml")


def test_the_schema_is_the_code():
    """After a change: python -c "from vlmflow.study import write_schema as w; w('schemas/study.schema.json')"."""
    written = json.loads((ROOT / "schemas" / "study.schema.json").read_text())
    assert written == Study.model_json_schema()


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *(ROOT / "studies").glob("*.yaml")], ids=lambda path: path.name)
def test_every_study_in_the_repository_is_valid(path):
    read_study(yaml.safe_load(path.read_text()), path.name)


def test_the_docs_name_every_key():
    pages = ("study.md", "figures.md", "claims.md")
    text = "".join((ROOT / "docs" / name).read_text() for name in pages)
    for model in (Study, *Study.model_json_schema()["$defs"].values()):
        fields = model.model_fields if model is Study else model["properties"]
        for field in fields:
            assert f"`{field}`" in text or f"{field}:" in text, field
