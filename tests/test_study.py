"""The study file: what is accepted, and what is said about mistakes."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from common import ROOT

from vlmflow.study import Model, Study, StudyError, read_study

DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path, value):
    config = copy.deepcopy(DEMO)
    *way, last = path.split("/")
    place = config
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


def test_the_default_study_is_the_papers_six_edges_and_tasks():
    study = read_study(DEMO, "config.yaml")
    assert len(study.tasks) == 6
    assert len(study.probes["flow"].edges) == 6


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
            ["probes.flow.edges.0", "unknown segment 'anwser'", "known are image, related patches"],
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
        ("models/a b", {"path": "x"}, ["use letters, digits"]),
        ("models/x-narrow", {"path": "x"}, ["is taken by a file or folder"]),
        ("dataset", {"source": "gqa", "images": "x"}, ["dataset.images: there is no such key here"]),
        ("dataset", {"source": "gqa", "questions": "x"}, ["dataset: scene_graphs: give both files"]),
        ("dataset", {"source": "gqa", "questions": "x", "scene_graphs": "x"}, ["images_dir: give the folder"]),
        ("dataset", {"source": "gqa", "base_url": "ftp://x"}, ["dataset.base_url: 'ftp://x' is no address"]),
        ("dataset", {"source": "gqa-paper", "sha256": {"a.csv": "12"}}, ["dataset.sha256.a.csv"]),
        ("dataset", {"source": "gqa-paper", "sha256": {"../a.csv": "0" * 64}}, ["dataset.sha256.../a.csv"]),
        ("models/tiny-llava/revision", "../../x", ["models.tiny-llava.revision", "'../../x'"]),
        ("models/tiny-llava/template", "vicuna_v2", ["'vicuna_v2' is no template", "vicuna_v1, llava_llama_3"]),
        ("models/tiny-llava/fit", "squeeze", ["models.tiny-llava.fit", "'pad'", "'squeeze'"]),
        ("models/tiny-llava/gpus", -1, ["models.tiny-llava.gpus", "greater than or equal to 0"]),
        ("sample/answered_by", "llava", ["sample.answered_by: there is no model 'llava'; there are tiny-llava"]),
        ("tables", {"t": {"table": "accuracy", "model": "llava"}}, ["tables.t.model: there is no model 'llava'"]),
        ("tables", {"t": {"table": "accuracy", "modle": "x"}}, ["tables.t.modle: there is no such key here"]),
        (
            "tables",
            {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": {"source": "gqa", "spilt": "val"}}},
            ["tables.t.dataset.spilt: there is no such key here"],
        ),
        ("models/flow", {"path": "x"}, ["a probe and a model have the same name"]),
        ("figures/answer-words/probe", "lens", ["there is no probe 'lens'; there are flow, tracking"]),
        ("figures/answer-words/probe", "flow", ["cannot draw the probe 'flow'", "use 'flow'"]),
        ("figures/image-to-question/edges", ["image -> template"], ["not measured by the probe 'flow'; add it"]),
    ],
)
def test_mistakes_are_named(path, value, messages):
    with pytest.raises(StudyError) as error:
        read_study(changed(path, value), "mine.yaml")
    text = str(error.value)
    assert "mine.yaml has" in text
    for message in messages:
        assert message in text


def test_gqa_comes_from_one_address():
    config = changed("dataset", {"source": "gqa-paper", "gqa_url": "https://one.example"})
    table = {
        "table": "accuracy",
        "model": "tiny-llava",
        "dataset": {"source": "gqa", "base_url": "https://two.example/"},
    }
    config["tables"] = {"t": table}
    with pytest.raises(StudyError, match=r"two addresses in one study: https://one\.example, https://two\.example"):
        read_study(config, "mine.yaml")


def test_the_papers_files_come_from_one_address():
    config = changed(
        "dataset", {"source": "gqa-paper", "sha256": {"a.csv": "0" * 64}, "base_url": "https://one.example"}
    )
    assert read_study(config, "x").paper_files == {"a.csv": ("https://one.example/a.csv", "0" * 64)}
    other = {"source": "gqa-paper", "sha256": {"a.csv": "1" * 64}}
    config["tables"] = {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": other}}
    with pytest.raises(StudyError, match=r"a\.csv cannot come from two addresses"):
        read_study(config, "mine.yaml")
    config = changed("tables", {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": {"source": "gqa-paper"}}})
    assert len(read_study(config, "x").paper_files) == 6


def test_a_path_is_a_folder_or_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "model").mkdir(parents=True)
    hub = Model(path="owner/name", revision="abc")
    assert hub.folder is None
    assert hub.fetched == "resources/hub/owner/name/abc.json"
    assert Model(path="mine/model").folder == Path("mine/model")
    assert Model(path="./owner/name").folder == Path("./owner/name")


def test_every_mistake_is_told_at_once():
    config = changed("probes/flow/window", 2)
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
    text = Path(ROOT / "docs" / "study.md").read_text()
    for model in (Study, *Study.model_json_schema()["$defs"].values()):
        fields = model.model_fields if model is Study else model["properties"]
        for field in fields:
            assert f"`{field}`" in text or f"{field}:" in text, field
