"""The paper's two studies set what the published code sets, where the workflow's own default is another one."""

import pytest
import yaml

from support.paths import ROOT
from vlmflow.settings import window_size
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


# The window in which the published code draws each model, and its number of layers. The last is not among its models;
# it is as deep as the first.
WINDOWS = {
    "llava-1.5-13b": (9, 40),
    "llava-1.5-7b": (7, 32),
    "llava-v1.6-vicuna-7b": (7, 32),
    "llama3-llava-next-8b": (7, 32),
    "llava-v1.6-vicuna-13b": (9, 40),
}


def windows_of(study, probe):
    """Model → the window in which a probe knocks edges out of it."""
    given = study.probes[probe].window
    (window,) = given if isinstance(given, list) else [given]
    return {model: window_size(window, WINDOWS[model][1]) for model in study.models_of(probe) if model in WINDOWS}


@pytest.mark.parametrize(
    ("study", "probe"),
    [
        ("flow", "flow"),
        *(
            ("flow-appendix", name)
            for name in ("flow", "last-sub-word", "knowledge", "fine-grained", "question-meaning")
        ),
    ],
)
def test_each_model_is_knocked_out_in_the_window_of_the_published_code(study, probe):
    assert windows_of(STUDIES[study], probe) == {model: window for model, (window, _) in WINDOWS.items()}


def test_models_of_every_encoder_are_measured_without_sinks():
    study = STUDIES["flow-appendix"]
    both = windows_of(study, "without-sinks") | windows_of(study, "without-sinks-tuned")
    assert both == {model: window for model, (window, _) in WINDOWS.items()}
    assert study.probes["without-sinks"].sinks.above == study.probes["norms"].above == 57
    # As large a share as that of the paper's number: 3.3 of 576 patches.
    assert study.probes["without-sinks-tuned"].sinks.quantile == pytest.approx(1 - 3.3 / 576, abs=1e-4)


def test_main_study_and_appendix_measure_the_same_edges():
    edges = [set(study.probes["flow"].edges) for study in STUDIES.values()]
    assert edges[0] - edges[1] == {"other patches, as many as related -> question"}
    assert edges[1] <= edges[0]


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_prompts_are_cut_into_tokens_as_published(study):
    templates = {name: model.template for name, model in study.models.items() if model.reads == "image"}
    llama = "llama3-llava-next-8b"
    vicuna = dict.fromkeys(templates, "vicuna_v1_as_published")
    assert templates == vicuna | {llama: "llava_llama_3_as_published"}


def test_the_last_sub_word_is_blocked_as_published_in_answers_of_several():
    probe = STUDIES["flow-appendix"].probes["last-sub-word"]
    assert (probe.token, probe.sub_words, probe.sub_words_blocked) == ("last", "several", "every")


def test_settings_are_the_numbers_that_the_paper_prints():
    probes = STUDIES["flow-appendix"].probes
    assert probes["windows"].window == [1, 3, 5, 7, 9, 11, 15]
    assert (probes["modules"].window, probes["modules"].top) == (9, 10)
    assert probes["pruning"].layers_dropped[1:] == [5, 10, 15, 20, 25, 30, 35]
    assert pytest.approx(0.573, abs=1e-3) == 100 * 3.3 / 576
