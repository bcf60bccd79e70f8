"""A study in which one model's correct answers decide what all others are asked, run by Snakemake."""

import polars as pl
import pytest

from support.results import rows_of
from support.studies import small_study
from support.workspace import Workspace
from vlmflow.data import scenes
from vlmflow.tables import ANSWERS, SELECTED, SKIPPED


@pytest.mark.slow
def test_correct_answers_of_one_model_decide_what_others_are_asked(tmp_path):
    """Files on disk, two models: the first is asked all candidates, the second what was drawn of its right ones."""
    workspace = Workspace(tmp_path)
    scenes.write_scenes(tmp_path / "mine", images=20, seed=1)
    study = small_study()
    study["dataset"] = {
        "source": "gqa",
        "questions": "mine/questions.json",
        "scene_graphs": "mine/sceneGraphs.json",
        "images_dir": "mine/images",
    }
    (tmp_path / "mine" / "images" / "4.png").unlink()
    study["tasks"] = {"QueryAttr": study["tasks"]["QueryAttr"]}
    study["sample"] = {"per_task": 5, "seed": 3, "candidates": 15, "answered_by": "tiny-llava"}
    study["models"]["tiny-llava"]["shards"] = 3
    # Another instruction, which it has never seen, makes it another model.
    study["models"]["other.model"] = study["models"]["tiny-llava"] | {"instruction": " in the image"}
    study["figures"] = study["claims"] = {}
    study["probes"] = {"flow": study["probes"]["flow"] | {"edges": ["image -> last"]}}
    study["tables"] = {
        "asked": {"table": "tasks"},
        "groups": {"table": "accuracy", "model": "tiny-llava", "per_group": 4},
    }
    workspace.write(study)
    done = workspace.snakemake("--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results" / "small"

    task = pl.read_parquet(results / "tasks" / "QueryAttr.parquet")
    images = pl.read_parquet(results / "tasks" / "QueryAttr.images.skipped.parquet")
    assert len(task) + len(images) == 15
    assert set(task["image"].str.split("/").list.first()) == {"mine"}  # used in place
    chosen = set(SELECTED.read(results / "tiny-llava" / "selected.parquet")["question_id"])
    assert len(chosen) == 5
    assert set(rows_of(ANSWERS, results / "tiny-llava" / "answers")["question_id"]) == set(task["question_id"])
    answers = rows_of(ANSWERS, results / "other.model" / "answers")
    assert set(answers["question_id"]) == chosen
    analysed = SELECTED.read(results / "other.model" / "selected.parquet")
    assert set(analysed["question_id"]) == set(answers.filter("correct")["question_id"])
    skipped = SKIPPED.read(results / "summary" / "skipped.parquet")
    lost = skipped.filter(pl.col("model") == "other.model", pl.col("stage") == "answers")
    assert set(lost["question_id"]) == set(task["question_id"]) - chosen
    assert pl.read_csv(results / "tables" / "asked.csv")["questions"].to_list() == [5]
    shards = results / "tables" / "groups" / "answers"
    assert len(list(shards.glob("?-of-3.parquet"))) == 3
    of_table = rows_of(ANSWERS, shards)
    assert set(of_table["task"]) == {"groups"}
    assert of_table["question_id"].is_unique().all()
    groups = pl.read_csv(results / "tables" / "groups.csv").filter(pl.col("detailed") == "")
    assert groups["questions"].sum() == len(of_table)
    assert groups["questions"].max() <= 4
    assert groups["questions"].sum() == 24 - len(
        skipped.filter(pl.col("task") == "groups", pl.col("stage") == "images")
    )
    assert "The other models are asked only" in (results / "index.html").read_text()
