"""Activation patching, against full forwards with hooks written here; and pairs of questions."""

import dataclasses

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.noise import noise_image
from support.paths import random_llava
from support.planted import prompt_of as planted_prompt
from support.planted import scene, stages
from support.questions import make_question, thing
from vlmflow.calibration.planted import QUESTION, Copy, Plant, build_planted
from vlmflow.errors import ModelError, NotApplicableError
from vlmflow.probes import PatchingProbe
from vlmflow.probes.effects import FollowedAnswer, first_sub_word
from vlmflow.probes.patching import measure as measure_module
from vlmflow.probes.patching.measure import check_same_layout, patching
from vlmflow.probes.patching.pairs import donors_of_same_questions
from vlmflow.probes.patching.units import with_units
from vlmflow.probes.run import ProbeRun

HEADS, WIDTH, LAYERS = 4, 4, 3
TEXT = "what color is the circle , red or blue ?"


def run_of(vlm, seed, answer=None):
    prompt = vlm.prompt(noise_image(12, seed), TEXT, {"circle": [(1, 1, 4, 4)]}, options=("red", "blue"))
    logits = vlm.model(**prompt.inputs).logits[0, -1]
    return first_sub_word(prompt, [int(logits.argmax()) if answer is None else answer])


def module_of(layer, site):
    return {"attention": layer.self_attn, "mlp": layer.mlp, "head": layer.self_attn.o_proj, "input": layer}[site]


def states_of(vlm, prompt, site):
    """The states of every layer at a site, (N, width)."""
    kept = {}

    def keep_input(number):
        return lambda _module, given: kept.__setitem__(number, given[0][0].clone())

    def keep_output(number):
        return lambda _module, _given, out: kept.__setitem__(
            number, (out[0] if isinstance(out, tuple) else out)[0].clone()
        )

    handles = []
    for number, layer in enumerate(vlm.layers):
        module = module_of(layer, site)
        if site in ("input", "head"):
            handles.append(module.register_forward_pre_hook(keep_input(number)))
        else:
            handles.append(module.register_forward_hook(keep_output(number)))
    vlm.model(**prompt.inputs)
    for handle in handles:
        handle.remove()
    return kept


def patched_logits(vlm, prompt, site, layers, positions, donor, part):
    def changed(number, states):
        states = states.clone()
        for position in positions.tolist():
            states[0, position, part] = donor[number][position, part]
        return states

    def before(number):
        return lambda _module, given: (changed(number, given[0]), *given[1:])

    def after(number):
        return lambda _module, _given, out: (
            (changed(number, out[0]), *out[1:]) if isinstance(out, tuple) else changed(number, out)
        )

    handles = []
    for number in layers:
        module = module_of(vlm.layers[number], site)
        hook = module.register_forward_pre_hook if site in ("input", "head") else module.register_forward_hook
        handles.append(hook((before if site in ("input", "head") else after)(number)))
    logits = vlm.model(**prompt.inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.oracle("patching")
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6), window=st.sampled_from([1, 3]))
def test_patches_by_hooks(seed, window):
    vlm = random_llava(LAYERS, 3, seed=seed, heads=HEADS, key_heads=2)
    with torch.no_grad():
        run = run_of(vlm, 90)
        donor = run_of(vlm, 40, answer=(run.token_ids[0] + 1) % 20)
        segments, sites = ["image", "related patches", "last"], ["input", "attention", "mlp", "head"]
        found = patching(vlm, run, donor, segments, sites, window)
        assert len(found) == len(segments) * LAYERS * (3 + HEADS)
        intact, other = (vlm.model(**each.prompt.inputs).logits[0, -1] for each in (run, donor))
        a, b = run.token_ids[0], donor.token_ids[0]
        for site in sites:
            donated = states_of(vlm, donor.prompt, site)
            for row in found.filter(pl.col("site") == site).iter_rows(named=True):
                layers = [n for n in range(LAYERS) if abs(n - row["layer"]) <= window // 2]
                head = row["head"]
                part = slice(None) if site != "head" else slice(head * WIDTH, (head + 1) * WIDTH)
                positions = run.prompt.positions(row["segment"])
                logits = patched_logits(vlm, run.prompt, site, layers, positions, donated, part)
                after, base = logits.log_softmax(-1), intact.log_softmax(-1)
                assert row["log_prob"] == pytest.approx((after - base)[a].item(), rel=1e-9, abs=1e-11)
                way = ((logits[b] - logits[a]) - (intact[b] - intact[a])) / (
                    (other[b] - other[a]) - (intact[b] - intact[a])
                )
                assert row["towards"] == pytest.approx(100 * way.item(), rel=1e-7, abs=1e-7)
                assert row["becomes"] == 100.0 * (int(logits.argmax()) == b)


@pytest.mark.planted("patching")
@settings(max_examples=5)
@given(at=stages(2), heads=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_the_code_is_where_it_was_planted_and_nowhere_else(at, heads):
    (layers, (related, last)), (first, second) = at, heads
    vlm = build_planted(
        Plant((Copy("related patches", "question", related, first), Copy("question", "last", last, second)), layers)
    )
    prompts = [planted_prompt(vlm, scene(bits)) for bits in ((1, 0), (0, 1))]
    run, donor = (first_sub_word(prompt, vlm.answer(prompt).token_ids) for prompt in prompts)
    segments = ["related patches", "other patches", "question", "last"]
    found = patching(vlm, run, donor, segments, ["input", "attention", "head"])
    complete = found.filter(pl.col("towards") > 99, pl.col("becomes") == 100)
    assert set(complete.select("site", "segment", "layer", "head").iter_rows()) == {
        *(("input", "related patches", layer, -1) for layer in range(related + 1)),
        *(("input", "question", layer, -1) for layer in range(related + 1, last + 1)),
        *(("input", "last", layer, -1) for layer in range(last + 1, layers)),
        ("attention", "question", related, -1),
        ("attention", "last", last, -1),
        ("head", "question", related, first),
        ("head", "last", last, second),
    }
    assert found.join(complete, on=["site", "segment", "layer", "head"], how="anti")["towards"].abs().max() < 1


def pair_of_questions(vlm, folder):
    questions = []
    for number, bits in enumerate(((1, 0), (0, 1))):
        shown = scene(bits)
        shown.image.save(folder / f"{number}.png")
        question = make_question(
            id=str(number), image_id=str(number), text=QUESTION, image=str(folder / f"{number}.png")
        )
        answer = vlm.answer(vlm.prompt(shown.image, QUESTION))
        questions.append(dataclasses.replace(question, token_ids=answer.token_ids, correct_answer=answer.text))
    return questions


def test_noise_and_denoise_are_the_same_pair_seen_from_both_sides(tmp_path):
    vlm = build_planted(Plant.through_question(4, 1, 2))
    questions = pair_of_questions(vlm, tmp_path)
    probe = PatchingProbe(kind="patching", segments=["question"], directions=["noise", "denoise"])
    run = ProbeRun(vlm, probe, "p", questions=questions)
    rows = [run.measure(question).drop("question_id", "image_id", "donor", "task") for question in questions]
    for one, other in ((0, 1), (1, 0)):
        noise, denoise = (
            rows[number].filter(pl.col("direction") == direction).drop("direction")
            for number, direction in ((one, "noise"), (other, "denoise"))
        )
        assert len(noise) == 4
        assert noise.equals(denoise)


def test_a_donor_of_another_layout_is_refused(tmp_path):
    vlm = random_llava(LAYERS, 3)
    prompt = run_of(vlm, 90).prompt
    longer = vlm.prompt(Image.new("RGB", (12, 12)), TEXT + " yes")
    with pytest.raises(NotApplicableError, match=rf"another layout of tokens: its prompt has {len(longer)}, this one"):
        check_same_layout(prompt, longer)
    moved = dataclasses.replace(prompt, segments=prompt.segments | {"image": prompt.positions("image") + 1})
    with pytest.raises(NotApplicableError, match="its segment 'image' is not at the same positions"):
        check_same_layout(prompt, moved)
    run = FollowedAnswer(prompt, [5], torch.tensor([len(prompt) - 1]))
    with pytest.raises(NotApplicableError, match="begin with the same sub-word"):
        patching(vlm, run, run, ["last"])


# --- pairs ---


def asked(name, answer, *, image=None, text="Is it red?", boxes=(), size=(9, 9)):
    objects = tuple(thing(f"thing {number}", box) for number, box in enumerate(boxes))
    return make_question(
        id=name,
        image_id=image or name,
        image=f"{name}.png",
        text=text,
        correct_answer=answer,
        objects=objects,
        image_size=size,
    )


def test_the_donor_is_the_same_question_with_another_answer():
    questions = [
        asked("a", "yes"),
        asked("b", "yes"),
        asked("c", "no", image="a"),
        asked("d", "no", text="Is it  RED?"),
        asked("e", "no", size=(9, 8)),
        asked("f", "no", text="Is it blue?"),
    ]
    donors = {question: donor.id for question, donor in donors_of_same_questions(questions).items()}
    assert donors["a"] == "d"  # not of its own image, of another size, or another question
    assert donors["b"] in ("c", "d")
    assert donors["d"] in ("a", "b")
    assert not {"e", "f"} & set(donors)
    assert donors == {q: d.id for q, d in donors_of_same_questions(questions[::-1]).items()}


def test_the_size_of_an_image_is_that_of_its_file_where_the_dataset_does_not_give_it(tmp_path):
    questions = []
    for name, answer, size in (("a", "yes", (9, 9)), ("b", "no", (9, 8)), ("c", "no", (9, 9))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
        question = asked(name, answer, size=(None, None))
        questions.append(dataclasses.replace(question, image=str(tmp_path / f"{name}.png")))
    donors = {question: donor.id for question, donor in donors_of_same_questions(questions).items()}
    assert donors == {"a": "c", "c": "a"}


def test_a_donor_of_the_same_own_answer_is_passed_over():
    questions = [
        dataclasses.replace(asked(name, answer), token_ids=[token])
        for name, answer, token in (("a", "yes", 5), ("b", "no", 5), ("c", "no", 6))
    ]
    assert donors_of_same_questions(questions)["a"].id == "c"


def test_images_that_are_donors_of_each_other_are_one_unit():
    pairs = {
        "q1": ("i1", "q2"),
        "q2": ("i2", "q1"),
        "q3": ("i3", "q2"),
        "q4": ("i4", "q5"),
        "q5": ("i5", "q4"),
        "q6": ("i1", "q9"),
    }
    rows = pl.DataFrame(
        [
            {"question_id": q, "image_id": i, "donor": d, "layer": layer}
            for q, (i, d) in pairs.items()
            for layer in (0, 1)
        ]
    )
    units = dict(with_units(rows).select("question_id", "image_id").unique().iter_rows())
    assert units == {"q1": "i1", "q2": "i1", "q3": "i1", "q6": "i1", "q4": "i4", "q5": "i4"}


def test_two_runs_that_hardly_differ_have_no_way_between_them(monkeypatch):
    monkeypatch.setattr(measure_module, "LEAST_WAY", 1e9)
    vlm = random_llava(LAYERS, 3)
    run = run_of(vlm, 90)
    found = patching(vlm, run, run_of(vlm, 40, answer=(run.token_ids[0] + 1) % 20), ["last"])
    assert found["towards"].null_count() == len(found)


def test_an_image_in_which_one_thing_was_changed_comes_first():
    box = [(1.0, 2.0, 3.0, 4.0)]
    others = [asked(f"o{number}", "no", boxes=[(float(number), 0.0, 1.0, 1.0)]) for number in range(20)]
    questions = [asked("a", "yes", boxes=box), *others, asked("changed", "no", boxes=box)]
    assert donors_of_same_questions(questions)["a"].id == "changed"


def test_the_users_own_pairs(tmp_path):
    vlm = build_planted(Plant.through_question(4, 1, 2))
    questions = pair_of_questions(vlm, tmp_path)
    probe = PatchingProbe(kind="patching", segments=["last"], pairs={"0": "1", "1": "gone"})
    run = ProbeRun(vlm, probe, "p", questions=questions)
    assert run.measure(questions[0])["donor"].unique().to_list() == ["1"]
    with pytest.raises(NotApplicableError, match="its donor 'gone' is not among the questions that are measured"):
        run.measure(questions[1])
    assert probe.others(questions) == {"0": [questions[1]]}
    alone = ProbeRun(vlm, PatchingProbe(kind="patching"), "p", questions=questions[:1])
    with pytest.raises(NotApplicableError, match="no measured question has the same text, another image"):
        alone.measure(questions[0])


def test_a_segment_at_other_positions_is_left_out(tmp_path):
    vlm = build_planted(Plant.through_question(4, 1, 2))
    questions = pair_of_questions(vlm, tmp_path)
    probe = PatchingProbe(kind="patching", segments=["last", "options"])
    run = ProbeRun(vlm, probe, "p", questions=questions)
    assert run.measure(questions[0])["segment"].unique().to_list() == ["last"]
    assert [each.what for each in run.skipped] == ["options"]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"segments": ["imagine"]}, "unknown segment 'imagine'; choose from image"),
        ({"segments": ["sinks"]}, "segment 'sinks': this probe does not know which patches are sinks"),
        ({"segments": ["last", "last"]}, "segment 'last' is given 2 times"),
        ({"sites": ["output"]}, "sites"),
        ({"window": 2}, "2 is even"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(given_, message):
    with pytest.raises(ValueError, match=message):
        PatchingProbe(kind="patching", **given_)


def test_a_window_beyond_the_model_is_refused():
    with pytest.raises(ModelError, match=r"probes\.p\.window: 5 is more than the 3 layers"):
        ProbeRun(random_llava(LAYERS), PatchingProbe(kind="patching", window=5), "p")
