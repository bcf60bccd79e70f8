"""States at any positions under any intervention, against full forwards, and how little is computed for them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.decoders import DECODERS
from support.paths import random_llava
from support.random_prompts import prompt_with_segments as prompt_of
from support.zeroed import Zeroed
from vlmflow.engine.interventions import AttentionKnockout, ZeroAblation
from vlmflow.engine.masks import last_needed
from vlmflow.engine.plain import plain
from vlmflow.engine.record import record
from vlmflow.engine.replay import replay


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 4), module=st.sampled_from(["attention", "mlp"]))
def test_states_at_any_positions_equal_the_plain_method(seed, layers, module):
    """The engine's states at positions before, at and after what is changed, to 1e-9 of full forwards'."""
    vlm = random_llava(layers, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    question, image = prompt.positions("question"), prompt.positions("image")
    mixed = [
        each
        for start in range(layers)
        for each in (
            ZeroAblation(module, question[2:4], start, layers),
            AttentionKnockout(image, question, start, start + 1),
            AttentionKnockout(question, prompt.positions("last"), 0, start + 1),
        )
    ]
    read = torch.tensor([0, int(question[0]), int(question[3]), len(prompt) - 1])
    recording = vlm.record(prompt)
    for positions in (read, question, None):
        replayed = vlm.replay(recording, mixed, positions)
        expected = plain(vlm.model, vlm.layers, prompt.inputs, mixed, positions)
        torch.testing.assert_close(replayed, expected, rtol=1e-9, atol=1e-12)
        # And what the oracle does for modules is what patched modules give.
        for each, states in zip(mixed, expected, strict=True):
            if isinstance(each, ZeroAblation) and positions is None:
                name = "self_attn" if module == "attention" else "mlp"
                span = range(each.start, each.stop)
                with Zeroed([getattr(vlm.layers[layer], name) for layer in span], each.positions.tolist()):
                    logits = vlm.model(**prompt.inputs).logits[0, -1]
                torch.testing.assert_close(vlm.logits(states[0]), logits, rtol=1e-9, atol=1e-12)


def test_only_positions_that_reach_the_read_ones_are_computed():
    """In a causal decoder nothing behind it; in a block whose positions see each other, all of the block."""
    may_attend = torch.ones(12, 12, dtype=torch.bool).tril()
    assert last_needed(may_attend, 5) == 5
    may_attend[3:8, 3:8] = True
    assert last_needed(may_attend, 3) == 3
    assert last_needed(may_attend, 5) == 8
    torch.manual_seed(0)
    model = DECODERS["llama"]().double().eval()
    mask = may_attend[None, None]
    inputs = {"input_ids": torch.randint(0, 50, (1, 12)), "attention_mask": mask}
    layers, read = model.model.layers, torch.tensor([4, 5])
    recording, _ = record(model, layers, inputs)
    mixed = [
        *(ZeroAblation("mlp", torch.tensor([6]), layer, layer + 1) for layer in range(4)),
        *(AttentionKnockout(torch.tensor([2]), torch.tensor([4]), layer, layer + 2) for layer in range(3)),
    ]
    expected = plain(model, layers, inputs, mixed, read)
    torch.testing.assert_close(replay(layers, recording, mixed, positions=read), expected, rtol=1e-9, atol=1e-12)
    assert (expected[0] - recording.output[0, read]).abs().max() > 1e-6, "a later position of the block matters"


def test_positions_that_are_not_read_are_not_computed():
    vlm = random_llava(4, 3)
    prompt = prompt_of(vlm, 3)
    recording = vlm.record(prompt)
    seen = set()
    for layer in vlm.layers:
        layer.register_forward_pre_hook(lambda module, args: seen.add(args[0].shape[1]))
    question = prompt.positions("question")
    vlm.replay(recording, [ZeroAblation("mlp", question, 0, 2)], question)
    assert seen == {len(question)}
