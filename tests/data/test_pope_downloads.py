"""POPE from a server: the three files of questions, and the images of COCO one by one, as studies/causal.yaml asks."""

import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import yaml
from PIL import Image

from support.noise import noise_image
from support.paths import ROOT
from vlmflow.data import dataset_from
from vlmflow.data.fetch.download import download
from vlmflow.data.fetch.images import with_images
from vlmflow.data.pope import SPLITS
from vlmflow.data.sampling import select_candidates
from vlmflow.errors import DatasetError, DownloadError, StudyError
from vlmflow.study import read_study
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED, TASK

pytestmark = pytest.mark.usefixtures("short_waits")

# Split → (image, object, label) of each line; each image is as many pixels wide as its number, but ABSENT is not there.
ABSENT = 310196
ASKED = {
    "random": [(42, "a snowboard", "yes"), (42, "an orange", "no"), (ABSENT, "a dog", "yes")],
    "popular": [(42, "a snowboard", "yes"), (139, "a person", "no")],
    "adversarial": [(139, "a dining table", "no"), (240, "a cell phone", "yes")],
}
BROKEN = '{"question_id": 3, "image": "COCO_val2014_0000'
CAUSAL = yaml.safe_load((ROOT / "studies" / "causal.yaml").read_text())


def image_name(number):
    return f"COCO_val2014_{number:012d}.jpg"


@pytest.fixture
def served(server):
    """The server with POPE's three files, one of which ends in the middle of a line, and COCO's images but one."""
    (server.folder / "pope").mkdir()
    (server.folder / "coco" / "val2014").mkdir(parents=True)
    for split, asked in ASKED.items():
        lines = [
            json.dumps(
                {
                    "question_id": number,
                    "image": image_name(image),
                    "text": f"Is there {named} in the image?",
                    "label": label,
                }
            )
            for number, (image, named, label) in enumerate(asked, 1)
        ]
        text = "\n".join([*lines, BROKEN] if split == "adversarial" else lines)
        (server.folder / "pope" / f"coco_pope_{split}.json").write_text(text)
    for number in {image for asked in ASKED.values() for image, _, _ in asked} - {ABSENT}:
        noise_image((number, 30)).save(server.folder / "coco" / "val2014" / image_name(number))
    return server


def pope_study(url, **added):
    """studies/causal.yaml with POPE and COCO from a server; of each added task the detailed types are given."""
    content = json.loads(json.dumps(CAUSAL))
    content["tasks"] |= {name: {"dataset": {"source": "pope"}, "detailed": types} for name, types in added.items()}
    for task in content["tasks"].values():
        if "dataset" in task:
            task["dataset"] |= {"base_url": f"{url}/pope", "coco_url": f"{url}/coco"}
    return read_study(content, "causal.yaml")


def fetch(study):
    """What the rules make of a study's tasks of POPE, step by step: task → its tables."""
    for path, source in study.downloads.items():
        if "/pope/" in source.url:
            download(source, Path(path))
    tables = {}
    for name, task in study.tasks.items():
        dataset = study.dataset_of_task(name)
        if dataset.source == "pope":
            rows, skipped = dataset_from(dataset.settings_read()).read(dataset.files())
            sample = study.sample
            of_task, _ = select_candidates(QUESTIONS.frame(rows), name, task, sample.candidates, sample.seed)
            asked, missing = with_images(CANDIDATES.frame(of_task), dataset.image_source(), task=name)
            tables[name] = SimpleNamespace(
                asked=TASK.frame(asked), skipped=SKIPPED.frame(skipped), missing=SKIPPED.frame(missing)
            )
    return tables


def test_each_task_has_the_questions_of_its_split_and_their_images(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served.faults.cut, served.faults.cut_from = 2, 200  # in the middle of two files
    tables = fetch(pope_study(served.url))
    assert served.faults.cut == 0
    assert set(tables) == {f"POPE-{split}" for split in SPLITS}
    for split, asked in ASKED.items():
        found = tables[f"POPE-{split}"].asked.sort("question_id")
        known = [
            (f"{split}-{number}", str(image), split, label, [named.split(" ", 1)[1]])
            for number, (image, named, label) in enumerate(asked, 1)
            if image != ABSENT
        ]
        objects = pl.col("objects").list.eval(pl.element().struct.field("name"))
        assert found.select("question_id", "image_id", "detailed", "answer", objects).rows() == known
        assert set(found.select("structural", "semantic").rows()) == {("verify", "obj")}
        for image_id, path in found.select("image_id", "image").rows():
            assert path == f"resources/coco/val2014/{image_id}.jpg"
            with Image.open(path) as image:
                assert image.width == int(image_id)


def test_every_file_and_image_is_fetched_once(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = fetch(pope_study(served.url))
    paths = [path for _, path, _ in served.requests]
    images = {image for asked in ASKED.values() for image, _, _ in asked}
    assert sorted(paths) == sorted(
        [f"/pope/coco_pope_{split}.json" for split in SPLITS]
        + [f"/coco/val2014/{image_name(number)}" for number in images]
    )
    served.requests.clear()
    (tmp_path / "resources" / "coco" / "val2014" / "240.jpg").unlink()
    again = fetch(pope_study(served.url))
    asked_again = {path.rsplit("/", 1)[1] for _, path, _ in served.requests}
    assert asked_again == {image_name(240), image_name(ABSENT)}
    assert all(again[name].asked.equals(tables[name].asked) for name in tables)


def test_a_broken_line_and_a_missing_image_cost_their_question_only(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = fetch(pope_study(served.url))
    for table in tables.values():  # each task reads all three files
        ((question, reason),) = table.skipped.select("question_id", "reason").rows()
        assert question == "adversarial, line 3"
        assert reason.startswith("malformed entry")
    ((question, stage, reason),) = tables["POPE-random"].missing.select("question_id", "stage", "reason").rows()
    assert (question, stage) == ("random-3", "images")
    assert reason == f"{served.url}/coco/val2014/{image_name(ABSENT)}: the server answers 404 Not Found"
    assert [len(tables[f"POPE-{split}"].missing) for split in SPLITS] == [1, 0, 0]


def test_a_file_that_is_not_there_is_an_error_that_names_it(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (served.folder / "pope" / "coco_pope_popular.json").unlink()
    with pytest.raises(DownloadError, match=rf"{served.url}/pope/coco_pope_popular\.json: .*404"):
        fetch(pope_study(served.url))
    assert not (tmp_path / "resources" / "pope" / "coco_pope_popular.json").exists()
    (served.folder / "pope" / "coco_pope_popular.json").write_text("<html>Log in</html>")
    with pytest.raises(DatasetError, match=r"pope/coco_pope_popular\.json: no line .* one question of POPE per line"):
        fetch(pope_study(served.url))


def test_a_task_may_have_several_splits_but_no_unknown_one(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = fetch(pope_study(served.url, **{"POPE-two": ["popular", "random"]}))
    assert set(tables["POPE-two"].asked["detailed"]) == {"popular", "random"}
    message = r"tasks\.POPE-often\.detailed: .* 'pope' has the type 'often'; choose from random, popular, adversarial"
    with pytest.raises(StudyError, match=message):
        pope_study(served.url, **{"POPE-often": ["popular", "often"]})
