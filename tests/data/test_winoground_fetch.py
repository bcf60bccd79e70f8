"""Fetching Winoground from a local server that speaks as the hub does, and a study that goes on without it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from support.paths import ROOT
from support.results import rows_of
from support.servers import HubHandler, serving
from support.studies import small_study
from support.workspace import Workspace
from vlmflow.data.coco_captions import MEMBER as COCO_CAPTIONS_MEMBER
from vlmflow.data.winoground import read_winoground
from vlmflow.data.winoground.fetch import unpack_images
from vlmflow.errors import HubError
from vlmflow.tables import ACCURACY, ANSWERS, QUESTIONS, SELECTED, SKIPPED, TASK

REPOSITORY = "facebook/winoground"
TOKEN = "hf_of-somebody-with-access"
FETCH = (
    "import sys; from pathlib import Path; from vlmflow.data.fetch.hub import HubError\n"
    "import json; from vlmflow.data.base import HubDataset\n"
    "from vlmflow.data.winoground.fetch import fetch_winoground\n"
    "names = [Path(name) for name in ('access.json', 'examples.jsonl', 'images')]\n"
    "try: print(json.dumps(fetch_winoground(HubDataset(sys.argv[1]), *names)))\n"
    "except HubError as error: print(error); sys.exit(3)"
)


def write_winoground(folder, examples=2):
    """The dataset as the hub has it."""
    (folder / "data").mkdir(parents=True)
    lines = []
    with zipfile.ZipFile(folder / "data" / "images.zip", "w") as archive:
        for number in range(examples):
            names = [f"ex_{number}_img_{place}" for place in range(2)]
            entry = {"id": number, "tag": "Noun", "secondary_tag": "", "num_main_preds": 1}
            entry |= {f"image_{place}": name for place, name in enumerate(names)}
            entry |= {"caption_0": "a cup on a table", "caption_1": "a table on a cup"}
            lines.append(json.dumps(entry))
            for name in names:
                Image.new("RGB", (40, 30), "red").save(folder / "one.png")
                archive.write(folder / "one.png", f"images/{name}.png")
    (folder / "one.png").unlink()
    (folder / "data" / "examples.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def hub(tmp_path):
    write_winoground(tmp_path / "served" / "datasets" / REPOSITORY)
    with serving(tmp_path / "served", HubHandler) as server:
        server.faults.gated[f"datasets/{REPOSITORY}"] = TOKEN
        yield server


def environment(url, folder, token):
    return {"HF_ENDPOINT": url, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}


def fetch(url, folder, token=TOKEN, repository=REPOSITORY):
    """(exit status, the account or what was said)."""
    paths = {"PYTHONPATH": str(ROOT / "workflow_scripts")}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, repository],
        cwd=folder,
        env=os.environ | paths | environment(url, folder, token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stdout


def test_examples_and_images_are_fetched(hub, tmp_path):
    _, account = fetch(hub.url, tmp_path)
    assert account == {"repository": REPOSITORY, "revision": None, "granted": True, "reason": None}
    served = hub.folder / "datasets" / REPOSITORY / "data" / "examples.jsonl"
    assert (tmp_path / "examples.jsonl").read_bytes() == served.read_bytes()
    names = {f"ex_{number}_img_{place}.png" for number in range(2) for place in range(2)}
    assert {path.name for path in (tmp_path / "images").iterdir()} == names
    # What the cache holds is used when the hub cannot be reached.
    assert fetch("http://127.0.0.1:9", tmp_path)[1] == account


@pytest.mark.parametrize(
    ("token", "repository", "status"),
    [
        ("", REPOSITORY, "401 Unauthorized"),
        ("hf_of-somebody-else", REPOSITORY, "403 Forbidden"),
        (TOKEN, "facebook/winogruond", "404 Not Found"),
    ],
)
def test_without_access_the_reason_names_what_to_do(hub, tmp_path, token, repository, status):
    _, account = fetch(hub.url, tmp_path, token, repository)
    assert account["granted"] is False
    assert account["reason"] == (
        "the captions and images of Winoground are missing, since this machine has no access to them "
        f"({repository} at main: the hub answers {status}); request access at "
        f"https://huggingface.co/datasets/{repository}, log in with `hf auth login` or set HF_TOKEN, "
        "delete access.json and run the same command again"
    )
    assert (tmp_path / "examples.jsonl").read_bytes() == b""
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_refuses_everything_counts_as_no_access(hub, tmp_path, status):
    """As where a token is no longer valid: refused before anything is listed, and without a code."""
    hub.faults.status[f"/api/datasets/{REPOSITORY}/revision/main"] = status
    assert f"the hub answers {status}" in fetch(hub.url, tmp_path)[1]["reason"]


def test_errors_other_than_lack_of_access_stop_the_job(hub, tmp_path):
    data = hub.folder / "datasets" / REPOSITORY / "data"
    (data / "images.zip").write_bytes(b"no archive")
    status, said = fetch(hub.url, tmp_path)
    assert status == 3
    assert "images.zip: this is not a complete zip archive" in said
    hub.faults.status[f"/api/datasets/{REPOSITORY}/revision/main"] = 500
    for url in ("http://127.0.0.1:9", hub.url):
        (tmp_path / "another").mkdir(exist_ok=True)
        status, said = fetch(url, tmp_path / "another")
        assert status == 3
        assert f"{REPOSITORY} at main: " in said


def test_files_that_are_not_there_are_named(hub, tmp_path):
    (hub.folder / "datasets" / REPOSITORY / "data" / "images.zip").unlink()
    status, said = fetch(hub.url, tmp_path)
    assert (status, said.strip()) == (3, f"{REPOSITORY} at main: there is no data/images.zip in this dataset")


def write_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            with archive.open(name, "w") as member:
                Image.new("RGB", (len(name), 9)).save(member, "PNG")
    return path


OUTSIDE = [
    "../evil.png",
    "images/../../evil.png",
    "/tmp/evil.png",
    "images//../evil.png",
    "evil.png",
    "__MACOSX/images/evil.png",
    "images/.evil.png",
    "images/run.sh",
    "images/",
    "images/deeper/evil.png",
]


def test_no_member_leaves_the_folder(tmp_path):
    (tmp_path / "images").mkdir()
    archive = write_zip(tmp_path / "a.zip", [*OUTSIDE, "images/a.png", "images/B.JPG"])
    assert unpack_images(archive, tmp_path / "images") == (2, {})
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip", "images", "a.png", "B.JPG"}
    assert Image.open(tmp_path / "images" / "a.png").width == len("images/a.png")
    assert unpack_images(write_zip(tmp_path / "none.zip", OUTSIDE), tmp_path / "images") == (0, {})


def test_a_member_that_is_no_image_costs_its_questions(hub, tmp_path):
    path = hub.folder / "datasets" / REPOSITORY / "data" / "images.zip"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    bad = {"images/ex_0_img_1.png": b"<html>", "images/ex_1_img_0.png": b""}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, bad.get(name, content))
    _, account = fetch(hub.url, tmp_path)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"ex_0_img_0.png", "ex_1_img_1.png"}
    assert json.loads((tmp_path / "access.json").read_text()) == account
    rows, skipped = read_winoground(tmp_path / "examples.jsonl", tmp_path / "access.json", "What is it?")
    problems = {row["question_id"]: row["problem"] for row in rows}
    assert (problems["0-0"], problems["1-1"], skipped) == (None, None, [])
    for question in ("0-1", "1-0"):
        assert (
            "images.zip: what was sent cannot be read: it is empty, or in none of the formats JPEG"
            in problems[question]
        )
        assert "images.zip and access.json and run the same command again" in problems[question]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/ex_0_img_0.png", b"")
    (tmp_path / "again").mkdir()
    status, said = fetch(hub.url, tmp_path / "again")
    assert status == 3
    assert "there is no image (.jpg, .png) under images/ in " in said
    assert "it is empty, or in none of the formats JPEG" in said


def test_a_damaged_archive_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", ["images/a.png"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"images/a.png", b"images/a.pnX", 1))
    with pytest.raises(HubError, match=r"a\.zip: this is not a complete zip archive"):
        unpack_images(path, tmp_path)


# --- a study with it ---


def serve_coco(folder):
    """Captions of two images of COCO, of which one is there."""
    (folder / "val2017").mkdir(parents=True)
    Image.new("RGB", (30, 40), "blue").save(folder / "val2017" / "000000000007.jpg")
    annotations = [{"id": 70 + number, "image_id": number, "caption": "A cup."} for number in (7, 8)]
    with zipfile.ZipFile(folder / "annotations.zip", "w") as archive:
        archive.writestr(COCO_CAPTIONS_MEMBER, json.dumps({"images": [], "annotations": annotations}))


def described_study(coco):
    """The demo in small, with tasks that describe Winoground's images, and COCO's from the address `coco`."""
    study = small_study()
    study["dataset"]["images"] = 8
    study["sample"]["per_task"] = 2
    study["tasks"] = {
        "ChooseAttr": study["tasks"]["ChooseAttr"],
        "Describe": {"dataset": {"source": "winoground", "prompt": "What is the color of the circle?"}},
        "Coco": {"dataset": {"source": "coco-captions", "url": f"{coco}/annotations.zip", "coco_url": coco}},
    }
    study["tasks"]["Coco"]["dataset"]["prompt"] = "What is the size of the square?"
    study["probes"] = {
        "flow": study["probes"]["flow"] | {"edges": ["image -> last", "related patches -> question"]},
        "tracking": study["probes"]["tracking"],
        "pruning": {"kind": "pruning", "layers_dropped": [0, 9]},
    }
    study["figures"] = {
        "flow-figure": {"chart": "flow", "probe": "flow", "edges": ["image -> last"]},
        "words": {"chart": "lens", "probe": "tracking"},
        "late": {"chart": "pruning", "probe": "pruning"},
    }
    study["tables"] = {"asked": {"table": "tasks"}}
    study["claims"] = {}
    return study


@pytest.mark.slow
def test_a_study_is_run_without_winoground_and_with_it(hub, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    workspace = Workspace(work, **environment(hub.url, tmp_path, token=""))
    serve_coco(tmp_path / "coco")
    with serving(tmp_path / "coco") as coco:
        workspace.write(described_study(coco.url))
        done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Winoground: the captions and images of Winoground are missing" in done.stdout + done.stderr
    results = work / "results" / "small"
    for figure in ("flow-figure", "words", "late"):
        assert (results / "figures" / figure / "tiny-llava.svg").stat().st_size > 5000
    skipped = SKIPPED.read(results / "summary" / "skipped.parquet")
    (row,) = skipped.filter(pl.col("question_id") == "winoground").to_dicts()
    assert row["stage"] == "questions"
    assert "delete resources/winoground/access.json and run the same command again" in row["reason"]
    assert len(TASK.read(results / "tasks" / "Describe.parquet")) == 0
    accuracy = ACCURACY.read(results / "summary" / "answers.parquet")
    assert accuracy.select("task", "asked", "correct").rows()[1:] == [("Describe", 0, None), ("Coco", 1, None)]
    (found,) = TASK.read(results / "tasks" / "Coco.parquet").to_dicts()
    assert (found["question_id"], found["image"]) == ("77", "resources/coco/val2017/7.jpg")
    (lost,) = skipped.filter(pl.col("task") == "Coco", pl.col("stage") == "images")["reason"]
    assert "val2017/000000000008.jpg: the server answers 404" in lost
    assert "https://huggingface.co/datasets/facebook/winoground" in (results / "index.html").read_text()
    again = workspace.snakemake("--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr

    # As the message says: access is granted, the account deleted, the same command run again.
    workspace.environment["HF_TOKEN"] = TOKEN
    (work / "resources" / "winoground" / "access.json").unlink()
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    questions = QUESTIONS.read(results / "questions" / "Describe.parquet")
    assert questions.select("question_id", "image_id", "answer").rows() == [
        ("0-0", "ex_0_img_0", "a cup on a table"),
        ("0-1", "ex_0_img_1", "a table on a cup"),
        ("1-0", "ex_1_img_0", "a cup on a table"),
        ("1-1", "ex_1_img_1", "a table on a cup"),
    ]
    answers = rows_of(ANSWERS, results / "tiny-llava" / "answers", "Describe")
    assert answers["correct"].to_list() == [None] * 4
    assert len(SELECTED.read(results / "tiny-llava" / "selected.parquet").filter(task="Describe")) == 2
    accuracy = ACCURACY.read(results / "summary" / "answers.parquet")
    assert accuracy.row(1) == ("tiny-llava", "Describe", 4, None, 2, None)
    pruning = pl.read_parquet(results / "summary" / "pruning.parquet").filter(pl.col("task") == "Describe")
    assert set(pruning["quantity"]) == {"work", "image tokens", "question tokens"}
    page = (results / "index.html").read_text()
    assert "If the task is to describe the image, no answer is correct or wrong" in page
    assert "Describe, Coco: these questions have no correct answer, so accuracy is not defined" in page
    assert Path(TASK.read(results / "tasks" / "Describe.parquet")["image"][0]).parts[:2] == ("resources", "winoground")
