"""Segments that a study defines itself, in prompts and in the study file."""

import pytest
import torch

from support.paths import TINY_LLAVA
from support.planted import scene
from support.questions import make_question, thing
from support.studies import smallest_study
from vlmflow import load_language_model
from vlmflow.calibration.planted import QUESTION, Plant, build_planted
from vlmflow.data import scenes
from vlmflow.errors import PromptError, StudyError
from vlmflow.own_segments import OwnSegment, used_in, with_referred
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.run import ProbeRun
from vlmflow.prompts.own_segments import About, Thing, with_given_positions, with_own_segments
from vlmflow.study import read_study

TEXT = "What color is the circle, red or blue, the red one?"
BOXES = [(0.0, 0.0, 16.0, 16.0), (32.0, 16.0, 16.0, 16.0)]


@pytest.fixture(scope="module")
def prompt(tiny_llava):
    image = scenes.render(scenes.draw_scene(6, seed=0))
    return tiny_llava.prompt(image, TEXT, {"circle": BOXES[:1]}, ("red", "blue"), instruction=" Answer shortly.")


def found(vlm, prompt, seed="q", **definitions):
    own = {name: OwnSegment.model_validate(each) for name, each in definitions.items()}
    things = [
        Thing("circle", ("red", "small"), BOXES[0]),
        Thing("square", ("red",), BOXES[1]),
        Thing("cross", (), None),
    ]
    about = About(vlm.processor, TEXT, things, vlm.patch_maps, lambda: (96, 96), seed)
    return with_own_segments(prompt, own, about)


def words_at(vlm, prompt, name):
    tokens = prompt.inputs["input_ids"][0, prompt.positions(name)]
    return vlm.processor.tokenizer.convert_ids_to_tokens(tokens)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"words": ["red"]}, ["red", "red"]),
        ({"words": ["circle", "blue"]}, ["circle", "blue"]),
        ({"pattern": "(r.d|blue) *(or|,)"}, ["red", "or", "blue", ","]),
        ({"pattern": "^What"}, ["What"]),
    ],
)
def test_words_of_the_question(tiny_llava, prompt, definition, words):
    assert words_at(tiny_llava, found(tiny_llava, prompt, mine=definition), "[mine]") == words


def test_text_around_the_question(tiny_llava, prompt):
    with_text = found(tiny_llava, prompt, mine={"around": "Answer.*[.]"})
    positions = with_text.positions("[mine]")
    assert torch.isin(positions, prompt.positions("template")).all()
    assert len(positions) >= 2
    assert "ASSISTANT" in words_at(tiny_llava, found(tiny_llava, prompt, mine={"around": "ASSISTANT"}), "[mine]")


def test_boxes_by_name_and_by_attribute(tiny_llava, prompt):
    named = found(
        tiny_llava,
        prompt,
        circle={"boxes": {"name": "circle"}},
        red={"boxes": {"attribute": "red"}},
        both={"boxes": {"attribute": "red", "name": "square"}},
    )
    image = prompt.positions("image")
    assert named.positions("[circle]").tolist() == prompt.positions("related patches").tolist()
    assert named.positions("[both]").tolist() == image[torch.tensor([1 * 6 + 2])].tolist()
    assert set(named.positions("[red]").tolist()) == {
        *named.positions("[circle]").tolist(),
        *named.positions("[both]").tolist(),
    }


def test_everything_but_another_segment_and_as_many_as_it(tiny_llava, prompt):
    named = found(
        tiny_llava,
        prompt,
        rest={"all_but": "related patches", "of": "image"},
        outside={"all_but": "image"},
        control={"as_many_as": "[mine]", "of": "[rest]"},
        mine={"boxes": {"name": "circle"}},
    )
    assert named.positions("[rest]").tolist() == prompt.positions("other patches").tolist()
    both = torch.cat([named.positions("[outside]"), prompt.positions("image")]).sort().values
    assert both.tolist() == list(range(len(prompt)))
    control = named.positions("[control]")
    assert len(control) == len(named.positions("[mine]"))
    assert torch.isin(control, named.positions("[rest]")).all()
    definitions = {"control": {"as_many_as": "last", "of": "image"}}
    draws = {
        seed: found(tiny_llava, prompt, seed=seed, **definitions).positions("[control]").tolist() for seed in "abcdefgh"
    }
    assert draws["a"] == found(tiny_llava, prompt, seed="a", **definitions).positions("[control]").tolist()
    assert len({tuple(each) for each in draws.values()}) > 3


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"words": ["green"]}, r"none of \['green'\] is in the question"),
        ({"pattern": "x+"}, "'x\\+' matches nothing in the question"),
        ({"around": "circle"}, "matches no text after the image outside of the question"),
        ({"boxes": {"name": "cross"}}, "no object of the question with a box has the name 'cross'"),
        ({"all_but": "caption"}, "this prompt has no 'caption'"),
        ({"as_many_as": "image", "of": "question"}, "there are only 14 other positions, but 'image' has 36"),
        ({"all_but": "question", "of": "options"}, "there is nothing but 'question'"),
    ],
)
def test_a_segment_that_a_prompt_does_not_have_is_missing_with_the_reason(tiny_llava, prompt, definition, reason):
    named = found(tiny_llava, prompt, mine=definition)
    with pytest.raises(PromptError, match=r"this prompt has no '\[mine\]': .*" + reason):
        named.positions("[mine]")


def test_a_box_that_was_drawn_for_another_size_gives_no_patches(tiny_llava, tmp_path):
    scenes.render(scenes.draw_scene(6, seed=0)).save(tmp_path / "i.png")
    question = make_question(
        id="q",
        image_id="i",
        text=TEXT,
        image=str(tmp_path / "i.png"),
        image_size=(40, 40),
        objects=(thing("circle", BOXES[0]),),
        token_ids=[5],
    )
    own = {"mine": OwnSegment(boxes={"name": "circle"})}
    with pytest.raises(PromptError, match="was made for 40 × 40 pixels, but the image has 96 × 96"):
        ProbeContext(tiny_llava, own_segments=own).prompt(question).positions("[mine]")


@pytest.mark.parametrize("template", ["own", "vicuna_v1_as_published"])
def test_captions_are_not_text_around_the_question(template):
    reader = load_language_model(TINY_LLAVA, device="cpu", template=template)
    captions = "circle red small solid. USER circle"
    question = make_question(id="q", image_id="i", text="Is the circle red or blue?", image="i.png", captions=captions)
    own = {"around": OwnSegment(around="USER|ASSISTANT"), "words": OwnSegment(words=["circle"])}
    prompt = ProbeContext(reader, own_segments=own).prompt(question)
    assert torch.isin(prompt.positions("[words]"), prompt.positions("question")).all()
    assert (prompt.positions("[around]") > prompt.positions("question")[-1]).all()


# --- probes and studies ---


def test_a_knockout_from_own_segments_finds_what_was_planted(tmp_path):
    vlm = build_planted(Plant.through_question(4, 1, 2))
    shown = scene()
    shown.image.save(tmp_path / "1.png")
    question = make_question(
        id="1",
        image_id="1",
        text=QUESTION,
        image=str(tmp_path / "1.png"),
        image_size=(48, 48),
        objects=(thing("picture", shown.related, ("lit",)), thing("thing", shown.other)),
        token_ids=vlm.answer(vlm.prompt(shown.image, QUESTION)).token_ids,
    )
    own = {
        "lit": {"boxes": {"attribute": "lit"}},
        "dark": {"boxes": {"name": "thing"}},
        "gone": {"words": ["unicorn"]},
        "words": {"all_but": "image"},
    }
    edges = ["[lit] -> question", "[dark] -> question", "[gone] -> last", "question -> last"]
    probe = KnockoutProbe(kind="knockout", window=1, edges=edges, own_segments=own)
    assert probe.needs == "image"
    run = ProbeRun(vlm, probe, "p", questions=[question])
    rows = run.measure(question)
    lost = set(rows.filter(rows["change"] < -45).select("edge", "layer").iter_rows())
    assert lost == {("[lit] -> question", 1), ("question -> last", 2)}
    assert [each.what for each in run.skipped] == ["[gone] -> last"]


def test_each_probe_of_a_study_gets_the_segments_that_it_names():
    study = smallest_study()
    study["segments"] = {
        "colour word": {"words": ["red", "blue"]},
        "control": {"as_many_as": "[colour word]", "of": "question"},
        "unused": {"pattern": "x"},
    }
    study["probes"] = {
        "own": {"kind": "knockout", "window": 1, "edges": ["[control] -> last"]},
        "plain": {"kind": "knockout", "window": 1, "edges": ["image -> last"]},
        "maps": {"kind": "attention-map", "targets": ["[colour word]"]},
        "heads": {"kind": "heads", "zero": ["[unused]"]},
        "states": {"kind": "states", "segments": ["[unused]", "last"]},
        "kept": {"kind": "pathway", "keep": {"set": {"[colour word] -> last": "all"}}},
    }
    study["figures"] = {"own": {"chart": "flow", "probe": "own", "edges": ["[control] -> last"]}}
    read = read_study(study, "s.yaml")
    assert list(read.probes["own"].own_segments) == ["colour word", "control"]
    assert read.probes["plain"].own_segments == {}
    assert list(read.probes["maps"].own_segments) == list(read.probes["kept"].own_segments) == ["colour word"]
    assert list(read.probes["heads"].own_segments) == list(read.probes["states"].own_segments) == ["unused"]
    settings = read.probes["own"].model_dump(mode="json")
    assert type(read.probes["own"]).model_validate(settings) == read.probes["own"]


@pytest.mark.parametrize(
    ("segments", "edge", "message"),
    [
        ({}, "[mine] -> last", r"segment '\[mine\]': the study's `segments` do not define it"),
        ({"mine": {"all_but": "[mine]"}}, "image -> last", "segments.mine: it is defined by itself"),
        ({"mine": {"all_but": "[other]"}}, "image -> last", r"segment '\[other\]': the study's `segments` do not"),
        ({"mine": {"words": ["a"], "pattern": "b"}}, "image -> last", "give exactly one of .*, not words and pattern"),
        ({"mine": {}}, "image -> last", "give exactly one of .*, not none"),
        ({"mine": {"pattern": "("}}, "image -> last", r"'\(' is not a regular expression"),
        ({"mine": {"words": ["a"], "of": "image"}}, "image -> last", "of: this key belongs to all_but and as_many_as"),
        ({"mine": {"boxes": {}}}, "image -> last", "give name or attribute"),
        ({"mine": {"all_but": "imagine"}}, "image -> last", "unknown segment 'imagine'"),
        ({"image": {"words": ["a"]}}, "image -> last", "segment 'image': every prompt has a segment of this name"),
        ({"a -> b": {"words": ["a"]}}, "image -> last", "use letters, digits, spaces"),
        ({"mine": {"all_but": "sinks", "of": "image"}}, "[mine] -> last", "sinks: this key is missing; it says which"),
        ({"mine": {"words": ["a"]}}, "mine -> last", "unknown segment 'mine'; .* in brackets"),
    ],
)
def test_mistakes_are_named_before_any_job(segments, edge, message):
    study = smallest_study()
    study["segments"] = segments
    study["probes"] = {"p": {"kind": "knockout", "window": 1, "edges": [edge]}}
    study["figures"] = {}
    with pytest.raises(StudyError, match=message):
        read_study(study, "s.yaml")


def test_names_in_brackets_are_found_anywhere_in_the_settings():
    own = {"a": {"all_but": "[b]"}, "b": {"words": ["x"]}, "c": {"words": ["[INST]"]}}
    assert list(used_in({"keep": {"set": {"[a] -> last": "all"}}}, own)) == ["a", "b"]
    assert used_in({"text": "[INST] what"}, own) == {}
    definitions = {name: OwnSegment.model_validate(each) for name, each in own.items()}
    assert with_referred(["[a]"], definitions) == ["[a]", "[b]"]


# --- positions that are given directly ---


def test_positions_stand_for_a_segment_in_a_notebook(tiny_llava, prompt):
    image = prompt.positions("image")
    named = tiny_llava.knockout(prompt, ["image -> question", "question -> last"], window=3)
    given = tiny_llava.knockout(
        prompt, [(image, "question"), (prompt.positions("question").tolist(), [len(prompt) - 1])], window=3
    )
    assert given.drop("edge").equals(named.drop("edge"))
    first, last = int(image[0]), int(image[-1])
    assert given["edge"][0] == f"[{first}–{last}] -> question"
    with pytest.raises(PromptError, match=f"give some from 0 to {len(prompt) - 1}"):
        with_given_positions(prompt, [[len(prompt)]])
    with pytest.raises(PromptError, match="give some"):
        with_given_positions(prompt, [[]])
    assert with_given_positions(prompt, [[7, 3, 4, 5, 3]])[1] == ["[3–5, 7]"]


def test_the_context_of_a_probe_adds_them(tiny_llava, tmp_path):
    scenes.render(scenes.draw_scene(6, seed=0)).save(tmp_path / "i.png")
    own = {"colours": OwnSegment(words=["red", "blue"])}
    question = make_question(id="q", image_id="i", text=TEXT, image=str(tmp_path / "i.png"), token_ids=[5])
    prompt = ProbeContext(tiny_llava, own_segments=own).prompt(question)
    assert words_at(tiny_llava, prompt, "[colours]") == ["red", "blue", "red"]
