"""Drawn scenes as a dataset: read as GQA is, with captions; and paler ones."""

import hashlib

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from vlmflow.data import dataset_from, scenes
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


def test_scenes_of_full_contrast_are_those_on_which_the_model_was_trained():
    drawn = b"".join(scenes.render(scenes.draw_scene(number, seed=0)).tobytes() for number in range(8))
    assert hashlib.sha256(drawn).hexdigest() == "59448fe75a176268440acab093eea29753f890ed01005f29c66fbac762d2ef36"


@pytest.mark.parametrize("contrast", [0.8, 0.25])
def test_paler_things_are_nearer_to_the_background_by_their_contrast(contrast):
    for number in range(8):
        scene = scenes.draw_scene(number, seed=0)
        full, pale = (np.asarray(scenes.render(scene, each)).astype(float) for each in (1.0, contrast))
        things = np.zeros(full.shape[:2], dtype=bool)
        for thing in scene.things:
            box = slice(thing.y, thing.y + thing.side), slice(thing.x, thing.x + thing.side)
            things[box] = (full[box] != pale[box]).any(-1)
        tint = full[~things].mean(0)
        assert things.any()
        assert (full[~things] == pale[~things]).all(), "the background is the same"
        assert np.abs(pale[things] - (tint + contrast * (full[things] - tint))).max() < 2


def test_paler_scenes_have_the_same_questions_in_a_folder_of_their_own(tmp_path):
    for name, contrast in (("full", 1.0), ("pale", 0.8)):
        scenes.write_scenes(tmp_path / name, images=3, seed=0, contrast=contrast)
    for name in ("questions.json", "sceneGraphs.json", "region_descriptions.json"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "pale" / name).read_bytes()
    full, pale = (np.asarray(Image.open(tmp_path / name / "images" / "2.png")) for name in ("full", "pale"))
    assert (full != pale).any()
    folders = {
        contrast: dataset_from({"source": "synthetic", "images": 9, "seed": 4, "contrast": contrast}).folder
        for contrast in (1, 0.8, 0.00001)
    }
    assert folders == {
        1: "resources/synthetic/9-4",
        0.8: "resources/synthetic/9-4-0.8",
        0.00001: "resources/synthetic/9-4-1e-05",
    }


@pytest.mark.parametrize("contrast", [0, -0.5, 1.1, "pale"])
def test_a_contrast_is_a_share(contrast):
    with pytest.raises(ValidationError, match="contrast"):
        dataset_from({"source": "synthetic", "contrast": contrast})


def test_changed_scenes_differ_in_one_attribute_of_the_thing_that_is_asked_for(tmp_path):
    scenes.write_scenes(tmp_path, images=12, seed=0, changed=True)
    dataset = dataset_from({"source": "synthetic", "images": 12, "seed": 0, "changed": True})
    assert dataset.folder.endswith("12-0-changed")
    files = {
        name: tmp_path / file
        for name, file in (
            ("questions", "questions.json"),
            ("scene_graphs", "sceneGraphs.json"),
            ("regions", "region_descriptions.json"),
        )
    }
    named, problems = dataset.read({name: str(path) for name, path in files.items()})
    assert problems == []
    rows = {row["question_id"]: row for row in named}
    assert len(rows) == 24
    for number in range(12):
        one, other = rows[f"{number:06d}0"], rows[f"{number + 12:06d}0"]
        assert one["question"] == other["question"]
        assert (one["true_option"], one["false_option"]) == (other["false_option"], other["true_option"])
        (thing,), (changed,) = one["objects"], other["objects"]
        box = [thing[name] for name in "xywh"]
        assert box == [changed[name] for name in "xywh"]
        assert len(set(thing["attributes"]) ^ set(changed["attributes"])) == 2
        pixels = [np.asarray(Image.open(tmp_path / "images" / f"{row['image_id']}.png")) for row in (one, other)]
        rows_, columns = np.nonzero((pixels[0] != pixels[1]).any(axis=2))
        x, y, width, height = map(int, box)
        assert len(rows_)
        assert y <= rows_.min()
        assert rows_.max() < y + height
        assert x <= columns.min()
        assert columns.max() < x + width
