"""Every kind of intervention is described, documented, and replayed as the plain method computes it."""

import pytest
import torch
from PIL import Image

from support.noise import noise_image
from support.paths import ROOT, random_llava
from vlmflow.engine.interventions import (
    INTERVENTIONS,
    SITES,
    AttentionKnockout,
    BlockedPairs,
    HeadAblation,
    StatePatch,
    Together,
    ZeroAblation,
)
from vlmflow.engine.plain import plain
from vlmflow.engine.prefix import CopiedPrefix, SharedPrefix
from vlmflow.engine.replay import replay

LAYERS, WIDTH = 4, 16
HEADS, HEAD = 2, 8


@pytest.fixture(scope="module")
def vlm():
    return random_llava(LAYERS, 3, width=WIDTH, seed=2)


def prompt_of(vlm, color="red"):
    image = noise_image(12) if color == "noise" else Image.new("RGB", (12, 12), color)
    return vlm.prompt(image, "what color is the circle ?")


def knockouts(prompt):
    image, question, last = (prompt.positions(name) for name in ("image", "question", "last"))
    for layer in range(LAYERS):
        yield AttentionKnockout(image, question, layer, min(layer + 2, LAYERS))
        yield AttentionKnockout(question, last, layer, layer + 1)


def ablations(prompt):
    for layer in range(LAYERS):
        for module in ("attention", "mlp"):
            yield ZeroAblation(module, prompt.positions("question")[1:3], layer, LAYERS)


def patches(prompt):
    torch.manual_seed(0)
    for layer in range(LAYERS):
        # In any order, and not only at positions that are computed.
        yield StatePatch(prompt.positions("question").flip(0), torch.randn(6, WIDTH).double(), layer)
        yield StatePatch(prompt.positions("image")[:2], torch.randn(2, WIDTH).double(), layer)

    for site in ("attention", "mlp"):
        yield StatePatch(prompt.positions("question")[:3], torch.randn(3, WIDTH).double(), 1, site)
    heads = torch.tensor([1, 0])
    yield StatePatch(prompt.positions("question")[:3], torch.randn(3, 2, HEAD).double(), 2, "head", heads)


def blocked_pairs(prompt):
    torch.manual_seed(1)
    length = len(prompt)
    for start in range(LAYERS):
        pairs = torch.rand(length, length) < 0.3
        pairs[: int(prompt.positions("question")[0]) + 1] = False
        yield BlockedPairs(pairs & ~torch.eye(length, dtype=torch.bool), start, min(start + 2, LAYERS))


def head_knockouts(prompt):
    image, question, last = (prompt.positions(name) for name in ("image", "question", "last"))
    for layer in range(LAYERS):
        for head in range(HEADS):
            yield AttentionKnockout(image, question, layer, layer + 1, torch.tensor([head]))
            yield AttentionKnockout(question, last, layer, layer + 1, torch.tensor([head]))


def head_ablations(prompt):
    torch.manual_seed(2)
    question = prompt.positions("question")
    for layer in range(LAYERS):
        yield HeadAblation(torch.tensor([layer % HEADS]), question[1:], layer, LAYERS)
        yield HeadAblation(torch.arange(HEADS), question[:2], layer, layer + 1, torch.randn(HEADS, HEAD).double())


def combinations(prompt):
    """Edges in several spans, of which two share a layer and a position; states of several layers and sites."""
    image, question, last = (prompt.positions(name) for name in ("image", "question", "last"))
    yield Together([AttentionKnockout(image, question, 0, 2), AttentionKnockout(question, last, 1, 4)])
    yield Together([AttentionKnockout(image, last, 1, 3), AttentionKnockout(question, last, 2, 4)])
    yield Together([
        AttentionKnockout(image, last, 1, 3, torch.tensor([0])), AttentionKnockout(question, last, 2, 3)
    ])  # fmt: skip
    yield Together([
        *list(patches(prompt))[::2], Together([ZeroAblation("mlp", question, 0, 2), next(iter(head_ablations(prompt)))])
    ])  # fmt: skip
    yield Together([AttentionKnockout(image, question, 3, 4)])


EXAMPLES = {
    AttentionKnockout: lambda prompt: [*knockouts(prompt), *head_knockouts(prompt)],
    BlockedPairs: blocked_pairs,
    ZeroAblation: ablations,
    HeadAblation: head_ablations,
    StatePatch: patches,
    Together: combinations,
}


def hooks_of(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(INTERVENTIONS)


@pytest.mark.parametrize("kind", INTERVENTIONS, ids=lambda kind: kind.__name__)
def test_every_kind_is_described(kind):
    assert kind.__doc__
    assert f"`{kind.__name__}`" in (ROOT / "docs" / "engine.md").read_text()


@pytest.mark.parametrize("prefix", [CopiedPrefix(), SharedPrefix()], ids=["copied prefix", "shared prefix"])
@pytest.mark.parametrize("kind", INTERVENTIONS, ids=lambda kind: kind.__name__)
def test_every_kind_equals_the_plain_method(vlm, kind, prefix):
    prompt = prompt_of(vlm, "noise")
    recording, interventions = vlm.record(prompt), list(EXAMPLES[kind](prompt))
    before = hooks_of(vlm.model)
    question = prompt.positions("question")
    for positions in (None, question, torch.arange(len(prompt))):
        replayed = replay(vlm.layers, recording, interventions, positions=positions, prefix=prefix)
        expected = plain(vlm.model, vlm.layers, prompt.inputs, interventions, positions)
        torch.testing.assert_close(replayed, expected, rtol=1e-9, atol=1e-12)
    changed = (replayed - recording.output[0]).abs().amax(dim=(1, 2))
    assert (changed > 1e-4).all()
    assert hooks_of(vlm.model) == before, "nothing is left on the model"
    assert not any(name.startswith("vlmflow") for module in vlm.model.modules() for name in vars(module))


def test_every_site_is_edited_by_some_kind(vlm):
    prompt = prompt_of(vlm)
    edited = {edit.site for make in EXAMPLES.values() for each in make(prompt) for edit in each.edits()}
    assert edited == set(SITES)


def test_kinds_share_a_batch(vlm):
    prompt = prompt_of(vlm, "noise")
    mixed = [each for make in EXAMPLES.values() for each in make(prompt)]
    together = vlm.replay(vlm.record(prompt), mixed)
    torch.testing.assert_close(together, plain(vlm.model, vlm.layers, prompt.inputs, mixed), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_all_states_of_another_run_give_its_output(vlm, layer):
    """Activation patching by its meaning, without the plain method."""
    one, other = vlm.record(prompt_of(vlm, "noise")), vlm.record(prompt_of(vlm, "blue"))
    everywhere = torch.arange(one.length)
    patched = vlm.replay(one, [StatePatch(everywhere, other.calls[layer].hidden[0], layer)], everywhere)
    torch.testing.assert_close(patched[0], other.output[0], rtol=1e-9, atol=1e-12)
    assert (one.output - other.output).abs().max() > 1e-3
