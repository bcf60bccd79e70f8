"""Single heads, against full forwards with hooks written here."""

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
from support.questions import make_question
from vlmflow.calibration.planted import Copy, Plant, build_planted
from vlmflow.errors import ModelError
from vlmflow.probes import HeadsProbe
from vlmflow.probes.heads.measure import heads
from vlmflow.probes.run import ProbeRun

HEADS, KEYS, WIDTH = 4, 2, 4  # of each layer: heads, heads with keys of their own, width of a head


def prompt_of(vlm):
    image = noise_image(12)
    return vlm.prompt(image, "what color is the circle , red or blue ?", options=("red", "blue"))


def without_output(vlm, prompt, layers, chosen, positions):
    """Logits at the last position if the chosen heads return zeros at the positions."""

    def remove(_module, arguments):
        states = arguments[0].clone()
        for head in chosen:
            states[0, positions, head * WIDTH : (head + 1) * WIDTH] = 0
        return (states,)

    handles = [vlm.layers[layer].self_attn.o_proj.register_forward_pre_hook(remove) for layer in layers]
    logits = vlm.model(**prompt.inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits


def without_edge(vlm, prompt, layers, chosen, sources, targets):
    """The same if the chosen heads do not attend from the targets to the sources."""

    def block(_layer, args, kwargs):
        length = args[0].shape[1]
        mask = torch.zeros(1, HEADS, length, length, dtype=args[0].dtype)
        mask += torch.full((length, length), torch.finfo(mask.dtype).min, dtype=mask.dtype).triu(1)
        for head in chosen:
            for target in targets.tolist():
                mask[0, head, target, sources] = torch.finfo(mask.dtype).min
        return args, kwargs | {"attention_mask": mask}

    handles = [vlm.layers[layer].register_forward_pre_hook(block, with_kwargs=True) for layer in layers]
    logits = vlm.model(**prompt.inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.oracle("heads")
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), window=st.sampled_from([1, 3]), together=st.booleans())
def test_heads_by_hooks(seed, window, together):
    vlm = random_llava(3, 3, seed=seed, heads=HEADS, key_heads=KEYS)
    prompt = prompt_of(vlm)
    found = heads(
        vlm, prompt, ["image -> question", "question -> last"], ["last", "question"], window, together=together
    )
    intact = vlm.model(**prompt.inputs).logits[0, -1].log_softmax(-1)
    answer, groups = int(intact.argmax()), [[0, 1], [2, 3]] if together else [[0], [1], [2], [3]]
    assert len(found) == 4 * 3 * len(groups)
    for row in found.iter_rows(named=True):
        layers = range(max(0, row["layer"] - window // 2), min(3, row["layer"] + window // 2 + 1))
        (chosen,) = (group for group in groups if group[0] == row["head"])
        assert row["key_head"] == row["head"] // 2
        if row["intervention"].startswith("zero at "):
            positions = prompt.positions(row["intervention"].removeprefix("zero at "))
            logits = without_output(vlm, prompt, layers, chosen, positions)
        else:
            source, target = row["intervention"].split(" -> ")
            ends = prompt.positions(source), prompt.positions(target)
            logits = without_edge(vlm, prompt, layers, chosen, *ends)
        after = logits.log_softmax(-1)
        assert row["log_prob"] == pytest.approx((after - intact)[answer].item(), rel=1e-9, abs=1e-11)


@pytest.mark.planted("heads")
@settings(max_examples=6)
@given(at=stages(2), chosen=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_the_planted_heads_are_found_and_no_others(at, chosen):
    (layers, (related, last)), (first, second) = at, chosen
    copies = (Copy("related patches", "question", related, first), Copy("question", "last", last, second))
    vlm = build_planted(Plant(copies, layers))
    found = heads(
        vlm,
        planted_prompt(vlm, scene()),
        ["image -> question", "question -> last", "image -> last"],
        ["last", "question"],
    )
    lost = set(found.filter(pl.col("change") < -45).select("intervention", "layer", "head").iter_rows())
    assert lost == {
        ("image -> question", related, first),
        ("zero at question", related, first),
        ("question -> last", last, second),
        ("zero at last", last, second),
    }
    assert found.filter(pl.col("change") >= -45)["change"].abs().max() < 1


@pytest.mark.parametrize("window", [1, 3])
def test_the_mean_of_other_questions_by_hooks(tmp_path, window):
    vlm = random_llava(3, 3, heads=HEADS, key_heads=KEYS)
    questions = []
    for number, text in enumerate(("what color is it ?", "is the circle red ?", "what is it ?", "is it blue ?")):
        image = min(number, 2)  # the last two are about one image
        noise_image(12, image).save(tmp_path / f"{image}.png")
        path = str(tmp_path / f"{image}.png")
        questions.append(make_question(id=f"q{number}", image_id=f"{image}", text=text, image=path, token_ids=[7]))
    probe = HeadsProbe(kind="heads", mean=["question"], window=window)
    run = ProbeRun(vlm, probe, "p", questions=questions)

    def outputs(question):
        """(layers, heads × width) at the question's positions, averaged."""
        kept = []
        handles = [
            layer.self_attn.o_proj.register_forward_pre_hook(lambda _module, given: kept.append(given[0]))
            for layer in vlm.layers
        ]
        prompt = run.context.prompt(question)
        vlm.model(**prompt.inputs)
        for handle in handles:
            handle.remove()
        return torch.stack([each[0, prompt.positions("question")].mean(0) for each in kept])

    rows = run.measure(questions[2])
    means = (outputs(questions[0]) + outputs(questions[1])) / 2  # not those of the same image
    prompt = run.context.prompt(questions[2])
    positions = prompt.positions("question")
    intact = vlm.model(**prompt.inputs).logits[0, -1].log_softmax(-1)
    assert len(rows) == 3 * HEADS
    for row in rows.iter_rows(named=True):
        part = slice(row["head"] * WIDTH, (row["head"] + 1) * WIDTH)

        def replaced(number, part=part):
            def hook(_module, given):
                states = given[0].clone()
                states[0, positions, part] = means[number, part]
                return (states,)

            return hook

        around = [n for n in range(3) if abs(n - row["layer"]) <= window // 2]
        handles = [vlm.layers[n].self_attn.o_proj.register_forward_pre_hook(replaced(n)) for n in around]
        after = vlm.model(**prompt.inputs).logits[0, -1].log_softmax(-1)
        for handle in handles:
            handle.remove()
        assert row["log_prob"] == pytest.approx((after - intact)[7].item(), rel=1e-9, abs=1e-12)


def test_a_head_without_other_questions_has_no_mean(tmp_path):
    vlm = random_llava(2, 3, heads=HEADS, key_heads=KEYS)
    Image.new("RGB", (12, 12)).save(tmp_path / "i.png")
    question = make_question(id="q", image_id="i", text="what is it ?", image=str(tmp_path / "i.png"), token_ids=[7])
    run = ProbeRun(vlm, HeadsProbe(kind="heads", mean=["last"], zero=["last"]), "p", questions=[question])
    assert set(run.measure(question)["intervention"]) == {"zero at last"}
    assert [each.what for each in run.skipped] == ["mean at last"]
    assert "no question about another image" in run.skipped[0].reason


def test_what_does_not_apply_is_left_out(tmp_path):
    vlm = random_llava(2, 3, heads=HEADS, key_heads=KEYS)
    Image.new("RGB", (12, 12)).save(tmp_path / "i.png")
    question = make_question(
        id="q", image_id="i", text="what color is it ?", image=str(tmp_path / "i.png"), token_ids=[7]
    )
    probe = HeadsProbe(kind="heads", edges=["options -> last", "image -> last"], zero=["last", "objects"])
    run = ProbeRun(vlm, probe, "p")
    rows = run.measure(question)
    assert set(rows["intervention"]) == {"image -> last", "zero at last"} < set(probe.interventions)
    assert {each.what for each in run.skipped} == {"options -> last", "zero at objects"}


def test_settings_that_have_no_meaning_are_refused():
    with pytest.raises(ValueError, match="edges, zero, mean: give at least one"):
        HeadsProbe(kind="heads")
    with pytest.raises(ModelError, match=r"probes\.p\.window: 5 is more than the 2 layers"):
        ProbeRun(random_llava(2), HeadsProbe(kind="heads", zero=["last"], window=5), "p")
