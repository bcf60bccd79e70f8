"""The paper's two studies set what the published code sets, where the workflow's own default is another one."""

import pytest
import yaml

from support.paths import ROOT
from vlmflow.study import read_study

STUDIES = {
    name: read_study(yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text()), f"studies/{name}.yaml")
    for name in ("flow", "flow-appendix")
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_related_patches_are_those_that_paint_finds(study):
    rules = {name: model.patch_rule for name, model in study.models.items() if model.reads == "image"}
    assert rules == dict.fromkeys(rules, "painted")
    assert len(rules) == 5


# The window in which the published code draws each model. The last is not among its models; it is as deep as the first.
WINDOWS = {
    "llava-1.5-13b": 9,
    "llava-1.5-7b": 7,
    "llava-v1.6-vicuna-7b": 7,
    "llama3-llava-next-8b": 7,
    "llava-v1.6-vicuna-13b": 9,
}


def windows_of(study, probes):
    """(model, edges) → the windows in which these probes knock them out of that model."""
    found = {}
    for name in probes:
        probe = study.probes[name]
        for model in study.models_of(name):
            window = probe.window if isinstance(probe.window, list) else [probe.window]
            found.setdefault(model, []).append((window, [str(edge) for edge in probe.edges]))
    return found


def test_each_model_is_drawn_in_the_window_of_the_published_code():
    study = STUDIES["flow"]
    found = windows_of(study, [name for name, probe in study.probes.items() if probe.kind == "knockout"])
    edges = [
        "question -> last",
        "image -> last",
        "last -> last",
        "image -> question",
        "related patches -> question",
        "other patches -> question",
    ]
    assert found == {model: [([window], edges)] for model, window in WINDOWS.items()}


@pytest.mark.parametrize("name", ["last-sub-word", "without-sinks", "knowledge", "fine-grained", "question-meaning"])
def test_the_appendices_knock_out_as_much_of_each_model(name):
    found = windows_of(STUDIES["flow-appendix"], [name, f"{name}-32"])
    assert {model: [window for window, _ in of_model] for model, of_model in found.items()} == {
        model: [[window]] for model, window in WINDOWS.items()
    }
    assert len({str(edges) for of_model in found.values() for _, edges in of_model}) == 1


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_figure_of_some_models_has_one_of_the_others(study):
    """Under the same title but for what is added to tell them apart."""
    for name, figure in study.figures.items():
        if figure.probe.endswith("-32"):
            other = study.figures[name.removesuffix("-32")]
            same = {"probe": other.probe, "title": other.title}
            assert figure.model_copy(update=same) == other
            assert figure.title == f"{other.title}, models of 32 layers"
            both = study.models_of(figure.probe) + study.models_of(other.probe)
            assert sorted(both) == sorted(WINDOWS)
