"""Names that a study file no longer has: each is refused with the name that it has now."""

from typing import ClassVar

import pytest
import yaml

from support.paths import ROOT
from vlmflow.errors import StudyError
from vlmflow.settings import Strict
from vlmflow.study import read_study


def test_a_value_with_an_old_name_is_refused_with_the_new_one():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    (model,) = config["models"].values()
    model["reads"] = "picture"
    with pytest.raises(StudyError, match=r"models\.tiny-llava: reads: picture is now called image"):
        read_study(config, "mine.yaml")


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"kind": "places"}, r"probes\.p: kind: places is now called occlusion"),
        ({"kind": "pruning", "last": [0]}, r"probes\.p: last: this key is now called layers_dropped"),
        ({"kind": "budget", "answers": "right"}, r"probes\.p: answers: right is now called correct"),
        (
            {"kind": "visual-lens", "places": ["after"]},
            r"probes\.p: places: this key is now called instruction_positions",
        ),
        (
            {"kind": "visual-lens", "instructions": ["right"]},
            r"probes\.p: instructions: right is now called correct",
        ),
    ],
)
def test_old_names_in_probes_are_refused_with_the_new_ones(probe, message):
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"probes": {"p": probe}, "figures": {}}
    with pytest.raises(StudyError, match=message):
        read_study(config, "mine.yaml")


def test_an_old_name_of_a_table_is_refused_with_the_new_one():
    config = yaml.safe_load((ROOT / "studies" / "demo-phase.yaml").read_text())
    config["tables"]["phases"]["table"] = "landmarks"
    with pytest.raises(StudyError, match=r"tables\.phases: table: landmarks is now called curve-features"):
        read_study(config, "mine.yaml")


def test_the_shards_of_a_table_are_refused_with_the_key_that_takes_their_place():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["tables"] = {"t": {"table": "accuracy", "model": "tiny-llava", "shards": 4}}
    message = r"tables\.t: shards: this key is now called models\.….shards, and divides all questions of the model"
    with pytest.raises(StudyError, match=message):
        read_study(config, "mine.yaml")


def test_a_key_with_an_old_name_is_refused_with_the_new_one():
    class Settings(Strict):
        renamed_keys: ClassVar = {"old": "new"}
        renamed_values: ClassVar = {"kinds": {"b": "c"}}

        new: int = 0
        kinds: tuple[str, ...] = ()

    with pytest.raises(ValueError, match="old: this key is now called new"):
        Settings.model_validate({"old": 1})
    with pytest.raises(ValueError, match="kinds: b is now called c"):
        Settings.model_validate({"kinds": ["a", "b"]})
    assert Settings.model_validate({"new": 1, "kinds": ["a"]}).new == 1
