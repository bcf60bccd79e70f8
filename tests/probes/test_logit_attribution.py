"""Direct logit attribution, against sums written here, and on planted models."""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.compared_families import model
from support.noise import noise_image
from support.paths import random_llava
from support.planted import prompt_of as planted_prompt
from support.planted import scene, stages
from support.questions import make_question
from vlmflow.calibration.planted import RELATED_BITS, Copy, Plant, build_planted, code_word
from vlmflow.errors import ModelError
from vlmflow.probes import LogitAttributionProbe
from vlmflow.probes.logit_attribution.measure import logit_attribution
from vlmflow.probes.run import ProbeRun

HEADS, WIDTH, LAYERS = 4, 4, 3


@pytest.mark.oracle("logit-attribution")
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_parts_by_hooks(seed):
    vlm = random_llava(LAYERS, 3, seed=seed, heads=HEADS, key_heads=2)
    prompt = vlm.prompt(noise_image(12), "what color is the circle , red or blue ?", options=("red", "blue"))
    seen = {}
    handles = []
    for number, layer in enumerate(vlm.layers):
        for name, module in (("heads", layer.self_attn.o_proj), ("input", layer)):
            handles.append(
                module.register_forward_pre_hook(
                    lambda _module, given, key=(name, number): seen.__setitem__(key, given[0][0, -1])
                )
            )
        handles.append(
            layer.mlp.register_forward_hook(
                lambda _module, _given, out, number=number: seen.__setitem__(("mlp", number), out[0, -1])
            )
        )
    with torch.no_grad():
        logits = vlm.model(**prompt.inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    true, false = 5, 9
    found = logit_attribution(vlm, prompt, true, (true, false))
    projections = [layer.self_attn.o_proj.weight.detach() for layer in vlm.layers]
    added = {("embedding", -1, -1): seen["input", 0]}
    for number in range(LAYERS):
        added["mlp", number, -1] = seen["mlp", number]
        for head in range(HEADS):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            added["head", number, head] = projections[number][:, part] @ seen["heads", number][part]
    last = sum(added.values())
    scale = (last.square().mean() + vlm.norm.variance_epsilon).sqrt()
    weights = vlm.unembedding.weight.detach()
    expected = {key: weights @ (state * vlm.norm.weight.detach() / scale) for key, state in added.items()}
    # The final norm computes in float32, whatever the model's dtype.
    assert torch.allclose(sum(expected.values()), logits, rtol=1e-6, atol=1e-6)
    for row in found.filter(pl.col("part") != "attention").iter_rows(named=True):
        of_part = expected[row["part"], row["layer"], row["head"]]
        assert row["margin"] == pytest.approx((of_part[true] - of_part[false]).item(), rel=1e-6, abs=1e-6)
        assert row["logit"] == pytest.approx((of_part[true] - of_part.mean()).item(), rel=1e-6, abs=1e-6)
        assert row["key_head"] == (row["head"] // 2 if row["part"] == "head" else -1)
    assert len(found) == 1 + LAYERS * (2 + HEADS)


@pytest.mark.planted("logit-attribution")
@settings(max_examples=5)
@given(at=stages(2), chosen=st.tuples(st.integers(0, 3), st.integers(0, 3)), bits=st.sampled_from(RELATED_BITS))
def test_only_the_planted_head_adds_to_the_answer(at, chosen, bits):
    (layers, (related, last)), (first, second) = at, chosen
    copies = (Copy("related patches", "question", related, first), Copy("question", "last", last, second))
    vlm = build_planted(Plant(copies, layers))
    prompt = planted_prompt(vlm, scene(bits))
    other = code_word((1 - bits[0], bits[1]), 0)
    tokens = vlm.processor.tokenizer.convert_tokens_to_ids([code_word(bits, 0), other])
    found = logit_attribution(vlm, prompt, tokens[0], tuple(tokens)).filter(pl.col("margin").abs() > 1e-3)
    assert set(found.select("part", "layer", "head").iter_rows()) == {("attention", last, -1), ("head", last, second)}
    assert (found["margin"] > 10).all()


def test_a_model_whose_parts_are_not_known_is_refused():
    with pytest.raises(ModelError, match=r"probes\.p: .*0 modules that may be its attention"):
        ProbeRun(model("Qwen3.5"), LogitAttributionProbe(kind="logit-attribution"), "p")


def test_a_question_without_options_has_no_margin(tmp_path):
    vlm = random_llava(LAYERS, 3)
    noise_image(12).save(tmp_path / "i.png")
    question = make_question(id="q", image_id="i", text="what is it ?", image=str(tmp_path / "i.png"), token_ids=[7])
    rows = ProbeRun(vlm, LogitAttributionProbe(kind="logit-attribution"), "p").measure(question)
    assert rows["margin"].null_count() == len(rows)
    means = LogitAttributionProbe.averaging.average(rows)
    assert set(means["quantity"]) == {"logit"}
