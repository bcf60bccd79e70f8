"""Small studies, as parsed YAML files."""

import copy

import yaml

from support.paths import ROOT

TASKS = ["ChooseAttr", "QueryAttr"]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())


def small_study():
    """The demo with two tasks and few images."""
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["study"] = "small"
    study["dataset"]["images"] = 25
    study["sample"] = {"per_task": 6, "seed": 0}
    study["tasks"] = {name: study["tasks"][name] for name in TASKS}
    study["claims"] = {name: study["claims"][name] for name in ("F04", "F21")}
    return study


def smallest_study():
    """One model, one task, one figure."""
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["study"] = "small"
    study["dataset"]["images"] = 6
    study["sample"] = {"per_task": 200, "seed": 0}
    study["tasks"] = {"QueryAttr": study["tasks"]["QueryAttr"]}
    study["probes"] = {"flow": {"kind": "knockout", "window": 3, "edges": ["image -> last"]}}
    study["figures"] = {"f": {"chart": "flow", "probe": "flow", "edges": ["image -> last"]}}
    study["claims"] = {}
    return study


def changed_demo(path, value):
    """The demo with another value of one key, whose path is joined by /; without the key if the value is None."""
    config = copy.deepcopy(DEMO)
    *way, last = path.split("/")
    place = config
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config
