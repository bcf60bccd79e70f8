"""A task without questions, and one from which all of them drop out."""

import json

import pytest

from support.studies import smallest_study
from support.workspace import Workspace
from vlmflow.data import scenes
from vlmflow.tables import ACCURACY, SKIPPED


@pytest.mark.slow
def test_a_task_without_questions_is_explained_in_the_report(tmp_path):
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
