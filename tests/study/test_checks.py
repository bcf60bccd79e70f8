"""What is checked before any job starts, without Snakemake: files, GPUs, layers."""

import json

import pytest
import yaml

from support.paths import ROOT, TINY_LLAVA
from support.studies import small_study
from vlmflow.errors import StudyError
from vlmflow.study import read_study
from vlmflow.study.checks import check_study, gpu_problems, layer_problems
from vlmflow.study.model_facts import layers_of, size_of
from vlmflow.study.paths import check_files, with_models_of
from vlmflow.study.yaml_text import open_study


def read(study):
    study["models"]["tiny-llava"]["path"] = str(TINY_LLAVA)
    return read_study(study, "study.yaml")


def made_by_no_rule(path):
    return False


def test_a_study_that_can_be_run():
    check_study(read(small_study()), made_by_no_rule, gpu_limit=1)


def test_a_model_that_takes_more_gpus_than_are_allowed():
    study = small_study()
    study["models"]["tiny-llava"]["gpus"] = 2
    study = read(study)
    (problem,) = gpu_problems(study, 1)
    assert problem.startswith("models.tiny-llava.gpus: a job of this model needs 2 GPUs, but at most 1 may be used")
    assert list(gpu_problems(study, 2)) == list(gpu_problems(study, None)) == []
    with pytest.raises(StudyError, match="run with --resources gpu=2, or more"):
        check_study(study, made_by_no_rule, gpu_limit=1)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (
            {"kind": "knockout", "window": [3, 11], "edges": ["image -> last"]},
            "probes.wide.window: 11 is more than the 10",
        ),
        ({"kind": "words", "modules": ["mlp"], "window": 12}, "probes.wide.window: 12 is more than the 10 layers"),
        (
            {"kind": "pruning", "layers_dropped": [0, 11]},
            "probes.wide.layers_dropped: 11 is more than the 10 layers of the model tiny-llava",
        ),
    ],
)
def test_a_probe_that_needs_more_layers_than_the_model_has(probe, message):
    study = small_study()
    study["probes"]["wide"] = probe
    (problem,) = layer_problems(read(study))
    assert problem.startswith(message)


def test_the_layers_of_a_hub_id_are_known_once_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study()
    study["models"]["other"] = {"path": "some/model", "revision": "abc"}
    model = read(study).models["other"]
    assert layers_of(model) is None
    assert size_of(model).layers == 40
    note = tmp_path / "resources/hub/some/model/abc.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"layers": 2, "size": size_of(model).saved() | {"layers": 2}}))
    assert (layers_of(model), size_of(model).layers) == (2, 2)
    assert any(
        problem.startswith("probes.flow.window: 3 is more than the 2 layers") for problem in layer_problems(read(study))
    )


RELATIVE = "; paths are relative to the folder in which snakemake runs, not to the study file"


def test_every_file_that_is_missing_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-models" / "my-next").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.json").write_text("{}")
    (tmp_path / "mine.zip").write_text("")
    files = {"source": "gqa", "questions": "my/nope.json", "scene_graphs": "mine.zip"}
    study = small_study()
    study["dataset"] = files | {"images_dir": "mine/a.json", "captions": "mine"}
    study["tasks"]["ChooseAttr"]["dataset"] = {"source": "ok-vqa", "images_dir": "coco"}
    accuracy = {"table": "accuracy", "model": "tiny-llava"}
    study["tables"] = {"t": accuracy | {"dataset": {"source": "gqa", "images_dir": "gqa"}}}
    study["models"]["other"] = {"path": "my-models/my-nxt"}
    study["models"]["third"] = {"path": str(TINY_LLAVA), "template": "mine.jinja"}
    with pytest.raises(StudyError) as error:
        check_files(read(study), made_by_no_rule)
    first, *lines = str(error.value).splitlines()
    assert first == "files or folders that the study file names are missing, at 8 key(s):"
    beginnings = [
        f"  dataset.questions: there is no file {tmp_path}/my/nope.json{RELATIVE}",
        f"  dataset.scene_graphs: {tmp_path}/mine.zip: this is an archive; unpack it",
        f"  dataset.captions: {tmp_path}/mine: this is a folder; give a file",
        f"  dataset.images_dir: there is no folder {tmp_path}/mine/a.json{RELATIVE}",
        f"  tasks.ChooseAttr.dataset.images_dir: there is no folder {tmp_path}/coco{RELATIVE}",
        f"  tables.t.dataset.images_dir: there is no folder {tmp_path}/gqa{RELATIVE}",
        f"  models.other.path: there is no model folder {tmp_path}/my-models/my-nxt; did you mean "
        f"{tmp_path}/my-models/my-next? ({RELATIVE.removeprefix('; ')})",
        f"  models.third.template: there is no file {tmp_path}/mine.jinja{RELATIVE}",
    ]
    for beginning in beginnings:
        assert sum(line.startswith(beginning) for line in lines) == 1, beginning
    assert len(lines) == len(beginnings)


def test_a_file_that_a_rule_makes_need_not_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    study = small_study()
    study["dataset"] = {"source": "gqa", "questions": "q.json", "scene_graphs": "g.json", "images_dir": "images"}
    check_files(read(study), lambda path: path in ("q.json", "g.json"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    window: 3\n", "    window: 3\n    window: 5\n", "probes.flow.window: this key is given twice"),
        ("study: demo", "study: ../x", "study: name '../x': use letters, digits, '-' and '_'"),
        ("kind: lens", "kind: glass", "probes.tracking"),
        ("      - question -> last", "      - question -> lsat", "edge 'question -> lsat': unknown segment 'lsat'"),
    ],
)
def test_mistakes_of_a_study_file_are_named(tmp_path, old, new, message):
    text = (ROOT / "config.yaml").read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(StudyError, match=r"mine\.yaml has") as error:
        open_study(yaml.safe_load((tmp_path / "mine.yaml").read_text()), [tmp_path / "mine.yaml"])
    assert message in str(error.value)


def test_models_that_come_with_the_workflow_are_found_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study() | {"models": {"a": {"path": "resources/tiny-llava"}, "b": {"path": "my/own"}, "c": None}}
    found = with_models_of(study, ROOT)["models"]
    assert found == {"a": {"path": str(TINY_LLAVA)}, "b": {"path": "my/own"}, "c": None}
    # A folder of the same name here comes first, and the workflow's own folder needs nothing.
    (tmp_path / "resources/tiny-llava").mkdir(parents=True)
    assert with_models_of(study, ROOT)["models"]["a"] == {"path": "resources/tiny-llava"}
    monkeypatch.chdir(ROOT)
    assert with_models_of(study, ROOT) == study
    assert with_models_of({"models": 3}, ROOT) == {"models": 3}
