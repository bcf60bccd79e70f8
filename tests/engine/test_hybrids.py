"""Layers without attention, and layers that take keys of earlier ones, against the plain method."""

import pytest
import torch
from PIL import Image

from support.compared_families import loaded, measured_families, one_thread  # noqa: F401 (a fixture)
from support.families.all import FAMILIES
from support.families.base import QUESTION
from support.families.hybrids import HYBRIDS
from support.noise import noise_image
from support.paths import random_llava
from support.random_prompts import prompt_with_words
from vlmflow.edges import Edge, EdgeGroup
from vlmflow.engine.interventions import AttentionKnockout, StatePatch, ZeroAblation
from vlmflow.engine.plain import plain
from vlmflow.engine.prefix import CopiedPrefix
from vlmflow.engine.recurrent import CHUNK
from vlmflow.engine.replay import replay
from vlmflow.engine.token_removal import attention_to
from vlmflow.errors import InterventionError, ModelError, NotApplicableError
from vlmflow.probes.knockout.measure import edge_knockouts, knockout
from vlmflow.probes.words.measure import words

MEASURED = [name for name in measured_families() if name in HYBRIDS]
# So many words that the question begins and ends in different chunks of linear attention.
LONG = f"{QUESTION} " + "a red circle is left of a blue square " * 12
EDGES = ("image -> question", "image -> last", "question -> last", "last -> last", "question -> template")


@pytest.fixture(scope="module", params=MEASURED)
def measured(request, tmp_path_factory):
    family = FAMILIES[request.param]
    vlm = loaded(family, tmp_path_factory.mktemp("model"))
    for module in vlm.model.modules():
        if hasattr(module, "A_log"):
            module.A_log.data.fill_(-6.0)  # states decay so slowly that those of earlier chunks matter
    torch.manual_seed(0)
    noise = Image.fromarray(torch.randint(0, 256, (90, 130, 3), dtype=torch.uint8).numpy())
    prompt = vlm.prompt(noise, LONG.strip(), objects={"circle": [(10, 10, 30, 30)]}, options=("red", "blue"))
    assert int(prompt.positions("question")[0]) % CHUNK
    assert int(prompt.positions("last")) > int(prompt.positions("question")[0]) + CHUNK
    return request.param, vlm, prompt, vlm.record(prompt)


def assert_same(measured, interventions, positions=None, prefix=None):
    name, vlm, prompt, recording = measured
    slow = plain(vlm.model, vlm.layers, prompt.inputs, interventions, positions)
    fast = (
        vlm.replay(recording, interventions, positions)
        if prefix is None
        else replay(vlm.layers, recording, interventions, positions=positions, prefix=prefix)
    )
    difference = ((fast - slow).abs().max() / slow.abs().max()).item()
    assert difference <= FAMILIES[name].tolerance
    intact = recording.output[0, [-1] if positions is None else positions]
    assert ((slow - intact).abs().amax(dim=(1, 2)) > 1e-4 * slow.abs().max()).any()


@pytest.mark.parametrize("prefix", [None, CopiedPrefix()])
def test_knockouts_equal_the_plain_method_over_chunks(measured, prefix):
    _, vlm, prompt, recording = measured
    knockouts = [
        each
        for edge in map(Edge.parse, EDGES)
        for window in (1, 3)
        for _, each in edge_knockouts(EdgeGroup((edge,)), prompt, window, len(vlm.layers), recording.recurrent)
    ]
    assert_same(measured, knockouts, prefix=prefix)


def test_ablations_and_patches_equal_the_plain_method_over_chunks(measured):
    """At positions in the middle of a chunk, read at others too."""
    _, vlm, prompt, recording = measured
    positions = prompt.positions("question")
    middle = positions[len(positions) // 2 :][:5]
    ablations = [ZeroAblation("mlp", middle, start, start + 2) for start in range(len(vlm.layers) - 1)]
    other = torch.randn(len(middle), recording.output.shape[2], dtype=recording.output.dtype)
    patches = [StatePatch(middle, other, start) for start in range(len(vlm.layers))]
    assert_same(measured, [*ablations, *patches], positions=torch.cat([middle[-2:], prompt.positions("last")]))


def test_a_last_position_that_begins_a_chunk_equals_the_plain_method(measured):
    """It is not replayed alone: models compute a single position in another way."""
    name, vlm, _, _ = measured
    text, prompt = QUESTION, None
    while prompt is None or (len(prompt) - 1) % CHUNK:
        text += " a"
        prompt = vlm.prompt(noise_image((130, 90)), text)
    edges = [Edge.parse(edge) for edge in ("image -> last", "question -> last")]
    recording = vlm.record(prompt)
    knockouts = [
        each
        for edge in edges
        for _, each in edge_knockouts(EdgeGroup((edge,)), prompt, 3, len(vlm.layers), recording.recurrent)
    ]
    assert_same((name, vlm, prompt, recording), knockouts)


def test_a_window_without_attention_is_no_row(measured):
    _, vlm, prompt, recording = measured
    if not recording.recurrent:
        pytest.skip("all layers of this family have attention")
    rows = knockout(vlm, prompt, ["image -> last"], [1, 3])
    attending = sorted(set(range(len(vlm.layers))) - recording.recurrent)
    assert rows.filter(window=1)["layer"].to_list() == attending
    near = [layer for layer in range(len(vlm.layers)) if any(abs(layer - each) <= 1 for each in attending)]
    assert rows.filter(window=3)["layer"].to_list() == near
    assert words(vlm, prompt, edges=["image -> question"], window=1)["layer"].to_list() == attending
    lonely = next(iter(recording.recurrent))
    with pytest.raises(InterventionError, match=f"none of the layers {lonely} to {lonely} has attention"):
        vlm.replay(
            recording, [AttentionKnockout(prompt.positions("image"), prompt.positions("last"), lonely, lonely + 1)]
        )


def test_layers_without_attention_carry_the_image_on(measured):
    """Cut from all later positions, the image still reaches them by recurrence, unless every layer has attention."""
    _, vlm, prompt, recording = measured
    sources = torch.cat([prompt.positions("image"), prompt.positions("after image")])
    targets = torch.arange(int(sources.max()) + 1, len(prompt))
    cut = AttentionKnockout(sources, targets, 0, len(vlm.layers))
    blank = vlm.prompt(Image.new("RGB", (130, 90)), LONG.strip())
    states = [vlm.replay(each, [cut])[0] for each in (recording, vlm.record(blank))]
    assert torch.equal(*states) == (not recording.recurrent)
    if recording.recurrent:
        with pytest.raises(NotApplicableError, match="layers without attention carry tokens on"):
            attention_to(recording, prompt.positions("image"), 0, len(vlm.layers))


def test_a_forward_without_tokens_equals_that_of_the_decoder_itself(measured):
    """Called with the embeddings of the tokens that are left, at the positions that they had."""
    name, vlm, prompt, recording = measured
    if name == "LFM3-VL":
        pytest.skip("called by itself, the decoder counts its sliding windows in the tokens that are left")
    dropped = prompt.positions("question")[5:20]
    assert torch.allclose(
        vlm.replay_without(recording, torch.tensor([], dtype=torch.long), prompt.positions("last")),
        recording.output[0, -1:],
        rtol=1e-6,
    )
    kept = torch.tensor([each for each in range(len(prompt)) if each not in set(dropped.tolist())])
    inner = vlm.model.model.language_model
    seen = {}
    handle = inner.register_forward_pre_hook(lambda _m, _a, kwargs: seen.update(kwargs), with_kwargs=True)
    vlm.model(**prompt.inputs)
    handle.remove()
    places = seen.get("position_ids")
    places = torch.arange(len(prompt))[None] if places is None else places
    shorter = {"inputs_embeds": seen["inputs_embeds"][:, kept], "position_ids": places[..., kept]}
    if seen.get("per_layer_inputs") is not None:
        shorter["per_layer_inputs"] = seen["per_layer_inputs"][:, kept]
    if isinstance(seen["attention_mask"], dict):
        masks = seen["attention_mask"].items()
        shorter["attention_mask"] = {
            kind: None if mask is None else mask[:, :, kept][..., kept] for kind, mask in masks
        }
    with torch.inference_mode():
        expected = inner(**shorter, use_cache=False).last_hidden_state[0, -1]
    found = vlm.norm(vlm.replay_without(recording, dropped, prompt.positions("last")))[0]
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found, vlm.norm(recording.output[0, -1]), rtol=1e-3)


def test_a_layer_that_keeps_no_keys_is_not_taken_for_one_that_takes_them(monkeypatch):
    vlm = random_llava(3, 3)
    attention = vlm.layers[1].self_attn
    forward = attention.forward

    def without_cache(*args, **kwargs):
        return forward(*args, **kwargs | {"past_key_values": None})

    monkeypatch.setattr(attention, "forward", without_cache)
    with pytest.raises(ModelError, match="layer 1 of the decoder keeps no keys of its own, and takes none"):
        vlm.record(prompt_with_words(vlm, [], 3))
