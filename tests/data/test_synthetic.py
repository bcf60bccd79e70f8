"""Drawn scenes as a dataset: read as GQA is, with captions."""

import polars as pl

from vlmflow.data import scenes
from vlmflow.data.gqa.reader import read_questions
from vlmflow.data.synthetic import SyntheticDataset
from vlmflow.tables import QUESTIONS


def test_drawn_scenes_have_captions(tmp_path):
    scenes.write_scenes(tmp_path, images=3, seed=0)
    files = [tmp_path / name for name in ("questions.json", "sceneGraphs.json", "region_descriptions.json")]
    rows, _ = read_questions(*files)
    scene = scenes.draw_scene(1, 0)
    found = QUESTIONS.frame(rows).filter(pl.col("image_id") == "1")["captions"].unique().to_list()
    assert found == [". ".join(map(scenes.describe_thing, scene.things)) + "."]
    without, _ = read_questions(*files[:2])
    assert {row["captions"] for row in without} == {None}
    named = dict(zip(("questions", "scene_graphs", "regions"), map(str, files), strict=True))
    assert SyntheticDataset(source="synthetic").read(named) == (rows, [])
