"""What can go wrong with the disk, a model's folder and a study file: each ends in a message to act on."""

import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from support.paths import ROOT, TINY_LLAVA
from support.studies import smallest_study
from support.workspace import SNAKEMAKE, Workspace
from vlmflow import load_model
from vlmflow.data import scenes
from vlmflow.errors import ModelError, ProcessorError, StudyError, WriteError
from vlmflow.models.processor import load_processor
from vlmflow.study.yaml_text import check_text
from vlmflow.tables import ACCURACY, SELECTED, SKIPPED, check_room, whole

IDS = pl.DataFrame({"question_id": [str(number) * 9 for number in range(100_000)]})


def mounted(options, folder, *command):
    """Run a command to whom something else is mounted on a folder, which nobody else sees."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    script = f"mount -t tmpfs {options} tmpfs {shlex.quote(str(folder))} && exec {shlex.join(map(str, command))}"
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


WRITE = """
import polars as pl, sys
from pathlib import Path
from vlmflow.tables import SELECTED, WriteError, check_room, whole
folder = Path(sys.argv[1])
ids = pl.DataFrame({"question_id": [str(number) * 9 for number in range(100_000)]})
def page():
    with whole(folder / "page.html") as name:
        name.write_text("x" * 3_000_000)
def table():
    SELECTED.write(ids, folder / "s.parquet")
def job():
    check_room([folder / "late" / "t.parquet"])
for write in (table, page, job):
    try:
        write()
    except WriteError as error:
        print(error)
print(sorted(file.name for file in folder.rglob("*") if file.is_file()))
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o size=200k", "cannot be written: the disk is full (No space left on device); make room on the disk of"),
        ("-o ro", "is read-only, or you may not write into it (Read-only file system); make it writable, or run"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_no_files(tmp_path, options, message):
    """Tables, other files, and what is asked before a long job; nothing half-written is left."""
    (tmp_path / "write.py").write_text(WRITE)
    code, text = mounted(options, tmp_path / "disk", sys.executable, tmp_path / "write.py", tmp_path / "disk")
    *told, left = text.strip().splitlines()
    assert code == 0, text
    assert left == "[]"
    for name, line in zip(("s.parquet", "page.html", "late/t.parquet"), told, strict=True):
        assert line.startswith(f"{tmp_path}/disk/{name} cannot be written: ")
        assert message in line
        assert line.endswith("run the same command again; finished files are kept")


@pytest.fixture
def nobody():
    """Somebody who may write nothing here, also where the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_folder_of_somebody_elses(tmp_path, nobody):
    place = "/usr/vlmflow-test"
    with pytest.raises(WriteError, match=f"{place}/t.parquet cannot be written: {place} is read-only, or you may not"):
        check_room([f"{place}/t.parquet"])


def test_something_else_in_the_place_of_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "s.parquet").mkdir(parents=True)
    for path in (tmp_path / "file" / "s.parquet", tmp_path / "folder" / "s.parquet"):
        with pytest.raises(WriteError, match=r"s\.parquet cannot be written: something else has its name"):
            SELECTED.write(IDS, path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder", "s.parquet"]


def test_an_error_inside_is_not_the_files(tmp_path):
    def read_another():
        with whole(tmp_path / "a") as name:
            name.write_bytes((tmp_path / "none").read_bytes())

    with pytest.raises(FileNotFoundError, match="none"):
        read_another()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["run_probe.py", "answer_questions.py", "answer_shard.py", "map_patches.py"])
def test_long_jobs_look_before_they_compute(tmp_path, script):
    """Nothing is read and no model loaded: what they would need is not there at all."""
    (tmp_path / "taken").write_text("a file")
    job = SimpleNamespace(log=[str(tmp_path / "log")], output=[tmp_path / "taken" / "x.parquet"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "workflow_scripts" / script), {"snakemake": job})
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "taken/x.parquet cannot be written: something else has its name" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [("-o size=200k", "the disk is full"), ("-o ro", "results/small is read-only, or you may not write into it")],
    ids=["full", "read-only"],
)
def test_a_run_that_cannot_write_its_results_ends_before_any_job(tmp_path, options, message):
    workspace = Workspace(tmp_path)
    workspace.write(smallest_study())
    command = [*SNAKEMAKE, "--configfile", "study.yaml", "--cores", "2"]
    code, text = mounted(options, tmp_path / "results", *command)
    assert code != 0
    assert "results/small/index.html cannot be written: " in text
    assert message in text
    assert "localrule" not in text, "no job has begun"


# --- a model's folder ---


def cut(name, length):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def split(folder):
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def fewer(folder):
    weights = load_file(folder / "model.safetensors")
    del weights[sorted(weights)[5]]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def narrower(folder):
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[5]
    save_file(weights | {name: weights[name][:-1].clone()}, folder / "model.safetensors", {"format": "pt"})


def foreign(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "foreign.Config"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled, r"its weights are pickled, not safetensors \(pytorch_model\.bin\).*save them as safetensors"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            r"there are no weights: model\.safetensors is missing",
        ),
        (cut("model.safetensors", 3_000_000), r"model\.safetensors is cut off, or not a safetensors file"),
        (cut("model.safetensors", 0), r"model\.safetensors is cut off, or not a safetensors file"),
        (split, r"two\.safetensors is missing, but model\.safetensors\.index\.json names it"),
        (fewer, r"the weights are incomplete: 1 are missing, such as model\.language_model"),
        (narrower, r"its weights have other shapes than those in config\.json"),
        (foreign, "it needs code of its own, and no code of a model is run"),
        (cut("config.json", 5), r"config\.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json does not hold a JSON object"),
        (lambda folder: (folder / "config.json").unlink(), r"there is no model: config\.json is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"there is no tokenizer \(tokenizer\.json"),
        (cut("tokenizer.json", 99), r"tokenizer\.json is not JSON"),
        (cut("processor_config.json", 9), r"processor_config\.json is not JSON"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no conversation template of its own; give"),
    ],
)
def test_a_models_folder_that_is_not_whole(tmp_path, change, message):
    folder = tmp_path / "mine"
    shutil.copytree(TINY_LLAVA, folder)
    change(folder)
    with pytest.raises(ModelError, match=f"{folder}: .*{message}"):
        load_model(folder, device="cpu")


def test_a_processor_alone_says_it_too(tmp_path):
    shutil.copytree(TINY_LLAVA, tmp_path / "mine")
    cut("tokenizer.json", 99)(tmp_path / "mine")
    with pytest.raises(ProcessorError, match=r"mine: no processor could be loaded: tokenizer\.json is not JSON"):
        load_processor(tmp_path / "mine")


# --- a study file; wrong keys and values: test_study.py ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1,\n  d: 2, c: 3}\n", r"1 mistake\(s\):\n  b\.c: this key is given twice, in lines 2 and 3"),
        ("a: 1\nb:\n- {c: 1}\n- c: 2\n  c: 3\na: 4\n", r"2 mistake\(s\):\n  b\.1\.c: .*\n  a: .*in lines 1 and 6"),
        ("a: 1\n\tb: 2\n", r"line 2, column 1: this is not YAML \(found character '\\t'.*a tab in place of spaces"),
        ("a: {b: 1\nc: 2\n", r"line 2, column 2: this is not YAML \(expected ',' or '}'"),
        ("a: *x\n", r"this is not YAML \(found undefined alias"),
        ("a: \0\n", "this is not YAML .unacceptable character"),
        ("[" * 5000, "this is not YAML"),
        ("", "this file has no keys; write it like config.yaml"),
        ("- a\n", "this file has no keys"),
        ("caf\xe9: 1\n".encode("latin-1"), "this is not text in UTF-8"),
        (None, "this file cannot be read"),
    ],
)
def test_a_study_file_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError, match=message) as error:
        check_text(path)
    assert str(error.value).startswith(str(path))


def test_the_same_keys_under_an_anchor_are_no_mistake(tmp_path):
    (tmp_path / "s.yaml").write_text("x: &x {a: 1}\ny: {<<: *x, a: 2}\nz: [*x, *x]\n")
    check_text(tmp_path / "s.yaml")
    check_text(ROOT / "config.yaml")


def test_study_files_are_checked_before_any_job(tmp_path):
    workspace = Workspace(tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text.replace("    window: 3\n", "    window: 3\n    window: 5\n"))
    done = workspace.snakemake()
    assert done.returncode != 0
    assert "probes.flow.window: this key is given twice" in done.stdout + done.stderr
    assert "Job stats" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()
    # What is no YAML at all Snakemake refuses by itself.
    (tmp_path / "study.yaml").write_text("a: {b: 1\n")
    assert "Config file is not valid JSON or YAML" in workspace.snakemake().stderr


# --- a task without questions ---


@pytest.mark.slow
def test_a_task_without_questions_and_one_from_which_all_drop_out(tmp_path):
    workspace = Workspace(tmp_path)
    scenes.write_scenes(tmp_path / "mine", images=6, seed=1)
    questions = json.loads((tmp_path / "mine" / "questions.json").read_text())
    for entry in questions.values():
        if entry["types"]["structural"] == "query":
            entry["imageId"] = "nowhere"
    (tmp_path / "mine" / "questions.json").write_text(json.dumps(questions))
    small = smallest_study()
    files = {"questions": "questions.json", "scene_graphs": "sceneGraphs.json", "images_dir": "images"}
    small["dataset"] = {"source": "gqa"} | {key: f"mine/{name}" for key, name in files.items()}
    small["tasks"]["Verify"] = {"structural": "verify", "semantic": "global"}
    workspace.write(small)
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results" / "small"
    assert ACCURACY.read(results / "summary" / "answers.parquet")["asked"].to_list() == [0, 0]
    skipped = SKIPPED.read(results / "summary" / "skipped.parquet")
    assert set(skipped.select("task", "stage", "reason").rows()) == {
        ("QueryAttr", "tasks", "there is no scene graph for the image nowhere")
    }
    assert len(skipped) == sum(entry["types"]["structural"] == "query" for entry in questions.values())
    page = " ".join((results / "index.html").read_text().split())
    assert "No question has the types of the task <b>Verify</b>. The dataset has these: choose attr, " in page
    for task in ("QueryAttr", "Verify"):
        assert (
            f"No question of the task <b>{task}</b> could be analysed on tiny-llava: it was asked 0 questions." in page
        )
    assert "there is no scene graph for the image nowhere" in page
