"""The user's own files of questions and images: what of a change concerns a study, and what does not."""

import json
import os
import re
from types import SimpleNamespace

import pytest

from support.studies import smallest_study
from support.workspace import Workspace
from vlmflow.data import scenes
from vlmflow.tables import SKIPPED, TASK

TARGET = "results/small/tasks/QueryAttr.parquet"


@pytest.fixture
def own(tmp_path):
    """A study on questions and images of the user, with the questions of its task; one of their images is missing."""
    workspace = Workspace(tmp_path)
    scenes.write_scenes(tmp_path / "mine", images=6, seed=1)
    study = smallest_study()
    files = {"questions": "questions.json", "scene_graphs": "sceneGraphs.json", "images_dir": "images"}
    study["dataset"] = {"source": "gqa"} | {key: f"mine/{name}" for key, name in files.items()}
    workspace.write(study)
    questions = json.loads((tmp_path / "mine/questions.json").read_text())
    asked = [entry["imageId"] for entry in questions.values() if entry["types"]["structural"] == "query"]
    missing = tmp_path / "mine" / "images" / f"{asked[0]}.png"
    content = missing.read_bytes()
    missing.unlink()

    def run():
        done = workspace.snakemake(TARGET)
        assert done.returncode == 0, done.stdout + done.stderr
        return TASK.read(tmp_path / TARGET)

    def plan():
        done = workspace.snakemake("--dry-run", TARGET)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"^(\w+) +1$", done.stdout + done.stderr, re.MULTILINE)) - {"total"}

    assert asked[0] not in set(run()["image_id"])
    lost = SKIPPED.read((tmp_path / TARGET).with_suffix(".images.skipped.parquet"))
    assert len(lost) == asked.count(asked[0]) > 0
    return SimpleNamespace(folder=tmp_path / "mine", missing=missing, content=content, asked=asked, run=run, plan=plan)


def test_an_image_concerns_a_study_if_a_question_asks_about_it(own):
    assert own.plan() == set()
    (own.folder / "images" / "another.png").write_bytes(own.content)
    assert own.plan() == set()
    own.missing.write_bytes(own.content)
    assert own.plan() == {"fetch_images"}
    assert sorted(own.run()["image_id"]) == sorted(own.asked)
    assert own.plan() == set()
    own.missing.unlink()
    assert own.plan() == {"fetch_images"}
    assert own.missing.stem not in set(own.run()["image_id"])
    assert own.plan() == set()


def test_a_file_of_questions_is_changed_if_its_content_is(own):
    file = own.folder / "questions.json"
    file.touch()
    (own.folder / "sceneGraphs.json").touch()
    assert own.plan() == set()
    questions = json.loads(file.read_text())
    asked = [name for name, entry in questions.items() if entry["imageId"] != own.missing.stem]
    questions.pop(next(name for name in asked if questions[name]["types"]["structural"] == "query"))
    file.write_text(json.dumps(questions))
    os.utime(file, (0, 0))
    assert own.plan() == {"read_questions", "select_candidates", "fetch_images"}
    assert len(own.run()) == len(own.asked) - 2
    assert own.plan() == set()
