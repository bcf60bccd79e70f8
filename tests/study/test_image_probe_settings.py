"""The parts of the study file on how image and words meet: what is accepted, and what is said about mistakes."""

import copy

import pytest
import yaml

from support.paths import ROOT
from vlmflow.errors import StudyError
from vlmflow.study import read_study

DEMO = yaml.safe_load((ROOT / "studies" / "demo-phase.yaml").read_text()) | {"claims": {}}


def changed(**changes):
    """The demo's study with some keys changed, each of them a path joined by __, with - for _ where that is a key."""
    config = copy.deepcopy(DEMO)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = config
        for key in way:
            place = place[key]
        place[last] = value
    return config


def refusal(config):
    with pytest.raises(StudyError) as error:
        read_study(config, "mine.yaml")
    text = str(error.value)
    assert text.startswith("mine.yaml has 1 mistake(s):"), text
    return text


PLACES = "{question}, {answer}, {object}"


@pytest.mark.parametrize("probe", ["contextualisation", "output", "tokens"])
@pytest.mark.parametrize(
    ("prompts", "messages"),
    [
        (
            {"a": "Is there a {colour}?"},
            [".prompts.a: prompt", f"no text can replace {{colour}}; choose from {PLACES}"],
        ),
        ({"a": "Is it {}?"}, [".prompts.a: prompt 'Is it {}?'", f"no text can replace {{}}; choose from {PLACES}"]),
        ({"a": "{question.upper}"}, [".prompts.a", f"no text can replace {{question.upper}}; choose from {PLACES}"]),
        ({"a": "{question"}, [".prompts.a: prompt '{question'", "expected '}'", f"braces are for {PLACES}"]),
        ({"a": "question}"}, [".prompts.a: prompt 'question}'", "Single '}'", f"braces are for {PLACES}"]),
        ({"a": "{question:d}"}, [".prompts.a", "only the name may be in the braces of {question}"]),
        ({"a": "{object!r}"}, [".prompts.a", "only the name may be in the braces of {object}"]),
        (
            {"a": ""},
            [".prompts.a: a prompt is empty; write the text that the model is to read, for instance '{question}'"],
        ),
        ({"a": " \n"}, [".prompts.a: a prompt is empty"]),
        ({}, [".prompts: ", "at least 1 item"]),
        ({"a b": "x"}, [".prompts.a b: name 'a b': use letters, digits, '-' and '_'"]),
        ({"summary": "x"}, [".prompts.summary: name 'summary' is taken"]),
        ({"a": 3}, [".prompts.a: ", "valid string", "but it is 3"]),
    ],
)
def test_mistakes_in_prompts(probe, prompts, messages):
    text = refusal(changed(**{f"probes__{probe}__prompts": prompts}))
    assert f"probes.{probe}.prompts" in text
    for message in messages:
        assert message in text


def test_valid_prompts_are_accepted():
    prompts = {"a": "{question} {answer} {object}", "other": "Braces {{stay}}.", "first": "plain"}
    study = read_study(changed(probes__contextualisation__prompts=prompts), "mine.yaml")
    assert study.probes["contextualisation"].prompts == prompts


def test_a_budget_does_not_give_the_answer_away():
    text = refusal(changed(probes__tokens__prompts={"a": "{question}", "b": "Say {answer}."}))
    assert "probes.tokens: prompts.b: {answer} gives away the answer whose loss is measured" in text
    read_study(changed(probes__tokens__prompts={"a": "{{answer}} {object}"}), "mine.yaml")


@pytest.mark.parametrize(
    ("key", "value", "messages"),
    [
        ("contextualisation__partners", 0, ["greater than or equal to 1", "but it is 0"]),
        ("contextualisation__answers", "none", ["'any', 'correct' or 'wrong'", "'none'"]),
        ("contextualisation__prompt", "x", ["there is no such key here"]),
        ("output__segments", ["image", "objects"], ["'image', 'question', 'template' or 'last'", "'objects'"]),
        ("output__segments", ["last", "last"], ["segment 'last' is given 2 times; give it once"]),
        ("output__segments", [], ["at least 1 item"]),
        ("attention__edges", ["image -> anwser"], ["unknown segment 'anwser'; choose from image"]),
        ("attention__edges", ["last -> image"], ["did you mean 'image -> last'"]),
        ("attention__edges", [], ["at least 1 item"]),
        ("attention__edges", ["image -> last", "image->last"], ["edge 'image -> last' is given 2 times"]),
        ("looks__targets", ["imagine"], ["unknown segment 'imagine'; choose from image"]),
        ("looks__targets", ["last", "last"], ["target 'last' is given 2 times; give it once"]),
        ("looks__targets", [], ["at least 1 item"]),
        ("words__top", 0, ["greater than or equal to 1"]),
        ("words__examples", -1, ["greater than or equal to 0"]),
        ("words__instructions", ["correct", "other"], ["'correct', 'wrong' or 'none'", "'other'"]),
        ("words__instructions", ["correct", "none", "none"], ["instruction 'none' is given 2 times"]),
        ("words__instruction_positions", ["beside"], ["'after' or 'before'", "'beside'"]),
        ("words__instruction_positions", ["after", "after"], ["position 'after' is given 2 times"]),
        ("words__instruction_positions", [], ["at least 1 item"]),
        ("tokens__keep", ["last"], ["'first', 'spread' or 'random'", "'last'"]),
        ("tokens__keep", ["first", "first"], ["way 'first' is given 2 times"]),
        ("tokens__keep", [], ["at least 1 item"]),
        ("tokens__draws", 0, ["greater than or equal to 1"]),
        ("occlusion__grid", 1, ["greater than or equal to 2", "but it is 1"]),
    ],
)
def test_mistakes_in_probes(key, value, messages):
    text = refusal(changed(**{f"probes__{key}": value}))
    assert f"probes.{key.replace('__', '.')}" in text
    for message in messages:
        assert message in text


@pytest.mark.parametrize("instructions", [["wrong", "none"], []])
def test_the_correct_instruction_is_what_others_are_compared_with(instructions):
    text = refusal(changed(probes__words__instructions=instructions))
    assert "probes.words: instructions: correct is missing; the others are compared with it" in text


@pytest.mark.parametrize(
    ("figure", "messages"),
    [
        ({"chart": "budget", "probe": "words"}, [".chart: 'budget' cannot draw", "use 'examples' or 'visual-lens'"]),
        ({"chart": "examples", "probe": "tokens"}, [".chart: 'examples' cannot draw the probe 'tokens'", "'budget'"]),
        ({"chart": "map", "probe": "attention"}, [".chart: 'map' cannot draw the probe 'attention'", "'attention'"]),
        ({"chart": "attention", "probe": "looks"}, ["use 'map' or 'examples'"]),
        ({"chart": "similarity", "probe": "occlusion"}, ["of kind 'occlusion'; use 'map' or 'examples'"]),
        ({"chart": "visual-lens", "probe": "contextualisation"}, ["'contextualisation' of kind 'similarity'"]),
        ({"chart": "heatmap", "probe": "looks"}, ["'map', 'examples', 'visual-lens', 'budget'"]),
        (
            {"chart": "attention", "probe": "attention", "edges": ["related patches -> last"]},
            [
                ".edges: 'related patches -> last' is not measured by the probe 'attention'",
                "add it to probes.attention.edges",
            ],
        ),
        ({"chart": "attention", "probe": "attention", "edges": []}, [".edges: ", "at least 1 item"]),
        (
            {"chart": "map", "probe": "looks", "target": "template"},
            [".target: 'template' is not measured by the probe 'looks'; add it to probes.looks.targets"],
        ),
        (
            {"chart": "examples", "probe": "looks", "target": "image"},
            [".target: 'image' is not measured by the probe 'looks'"],
        ),
        (
            {"chart": "map", "probe": "occlusion", "target": "question"},
            [".target: the probe 'occlusion' measures no attention; remove this key"],
        ),
        (
            {"chart": "examples", "probe": "occlusion", "target": "last"},
            [".target: the probe 'occlusion' measures no attention"],
        ),
        (
            {"chart": "examples", "probe": "words", "target": "last"},
            [".target: the probe 'words' measures no attention"],
        ),
        (
            {"chart": "similarity", "probe": "contextualisation", "phases": True, "by": "prompt"},
            [": phases: they are found on the three corrected curves; remove the keys by and quantity"],
        ),
        (
            {"chart": "similarity", "probe": "contextualisation", "phases": True, "quantity": "raw"},
            [": phases: they are found on the three corrected curves"],
        ),
        ({"chart": "similarity", "probe": "contextualisation", "by": "task"}, [".by: ", "'pair' or 'prompt'"]),
        ({"chart": "map", "probe": "looks", "layers": [-2, 3]}, [".layers.0: ", "greater than or equal to -1"]),
        ({"chart": "examples", "probe": "words", "layers": [-2]}, [".layers.0: ", "greater than or equal to -1"]),
        ({"chart": "map", "probe": "looks", "layers": [1, 3, 1]}, [".layers: layer 1 is given 2 times"]),
        ({"chart": "map", "probe": "looks", "layers": []}, [".layers: ", "at least 1 item"]),
        ({"chart": "map", "probe": "looks", "layers": [-1]}, [".layers: −1 is the embedding, which has no attention"]),
        (
            {"chart": "map", "probe": "occlusion", "layers": [1]},
            [".layers: the probe 'occlusion' measures no single layers"],
        ),
        ({"chart": "map", "probe": "looks", "quantity": "norm"}, [".quantity: ", "'share' or 'weight'", "'norm'"]),
        ({"chart": "examples", "probe": "looks", "questions": 0}, [".questions: ", "greater than or equal to 1"]),
        ({"chart": "examples", "probe": "looks", "questions": 13}, [".questions: ", "less than or equal to 12"]),
        ({"chart": "output-lens", "probe": "output", "quantity": "words"}, [".quantity: ", "'entropy' or 'agreement'"]),
        ({"chart": "output-lens", "probe": "words"}, [".chart: 'output-lens' cannot draw the probe 'words'"]),
        ({"chart": "visual-lens", "probe": "words", "quantity": "objects"}, [".quantity: ", "'names', 'entropy'"]),
        ({"chart": "budget", "probe": "tokens", "by": "task"}, [".by: ", "'keep' or 'prompt'"]),
        ({"chart": "budget", "probe": "tokns"}, [".probe: there is no probe 'tokns'; choose from contextualisation"]),
    ],
)
def test_mistakes_in_figures(figure, messages):
    text = refusal(changed(figures__mine=figure))
    assert "figures.mine" in text
    for message in messages:
        assert message in text


def test_figures_of_the_visual_lens_show_what_was_measured():
    config = changed(probes__words={"kind": "visual-lens", "instructions": ["correct"], "examples": 0})
    config["figures"] = {"mine": {"chart": "visual-lens", "probe": "words"}}
    read_study(config, "mine.yaml")
    for quantity in ("agreement", "difference"):
        config["figures"]["mine"]["quantity"] = quantity
        text = refusal(config)
        assert "figures.mine.quantity: the probe 'words' measures no instruction beside the correct one" in text
        assert "add wrong or none to probes.words.instructions" in text
    config["figures"]["mine"] = {"chart": "examples", "probe": "words"}
    text = refusal(config)
    assert "figures.mine.probe: the probe 'words' keeps no words; set probes.words.examples to at least 1" in text


def test_examples_of_words_may_show_the_embedding():
    study = read_study(changed(figures__mine={"chart": "examples", "probe": "words", "layers": [-1, 3]}), "mine.yaml")
    assert study.figures["mine"].layers == [-1, 3]


@pytest.mark.parametrize("probe", ["attention", "nothing"])
def test_curve_features_are_those_of_curves(probe):
    config = changed(tables__mine={"table": "curve-features", "probe": probe})
    text = refusal(config)
    message = f"tables.mine.probe: there is no probe '{probe}' of kind similarity or budget; "
    assert f"{message}choose from contextualisation, tokens" in text
    for name in ("contextualisation", "tokens"):
        del config["probes"][name]
    config["figures"] = {}
    config["tables"] = {"mine": config["tables"]["mine"]}
    assert f"{message}add one" in refusal(config)


def test_image_probes_need_a_model_that_reads_images():
    """By all of these probes but attention, which is about them only where its edges are."""
    reader = {"path": "x", "reads": "captions"}
    config = changed(models={"reader": reader})
    config |= {"figures": {}, "tables": {}}
    for name, probe in DEMO["probes"].items():
        config["probes"] = {name: probe}
        assert f"probes.{name}: no model of the study reads image; add one with reads: image" in refusal(config)
    config["probes"] = {"attention": {"kind": "attention", "edges": ["question -> last", "caption -> question"]}}
    assert read_study(config, "mine.yaml").models_of("attention") == ["reader"]
    config["models"] = DEMO["models"] | {"reader": reader}
    config["probes"] = copy.deepcopy(DEMO["probes"])
    study = read_study(config, "mine.yaml")
    assert {name: study.models_of(name) for name in study.probes} == {key: ["tiny-llava"] for key in DEMO["probes"]}
    config["probes"]["words"]["models"] = ["reader"]
    assert "probes.words.models: 'reader' reads captions, but this probe is about a prompt with image" in refusal(
        config
    )


def test_every_probe_and_chart_of_the_demo():
    """The demo in small has all that there is to show of images, and the defaults are the papers'."""
    study = read_study(DEMO, "demo-phase.yaml")
    kinds = {"similarity", "output-lens", "attention", "attention-map", "visual-lens", "budget", "occlusion"}
    assert {probe.kind for probe in study.probes.values()} == kinds
    shown = {(figure.chart, study.probes[figure.probe].kind) for figure in study.figures.values()}
    examples = {("examples", kind) for kind in ("attention-map", "visual-lens", "occlusion")}
    assert shown == examples | {
        ("similarity", "similarity"),
        ("output-lens", "output-lens"),
        ("attention", "attention"),
        ("map", "attention-map"),
        ("map", "occlusion"),
        ("visual-lens", "visual-lens"),
        ("budget", "budget"),
    }
    assert {study.probes[table.probe].kind for table in study.tables.values()} == {"similarity", "budget"}
    assert len(study.probes["attention"].edges) == 8
    assert study.probes["words"].instructions == ["correct", "wrong", "none"]
    assert all(probe.answers == "any" for probe in study.probes.values())
    default = read_study(yaml.safe_load((ROOT / "config.yaml").read_text()), "config.yaml")
    assert not kinds & {probe.kind for probe in default.probes.values()}, "the default study is that of [flow]"
