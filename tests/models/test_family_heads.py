"""The heads of every family: one of them knocked out or ablated, as by the plain method."""

import pytest
import torch

from support.compared_families import measured_families, model, one_thread, prompt_of  # noqa: F401 (a fixture)
from vlmflow.engine.interventions import AttentionKnockout, HeadAblation, StatePatch, ZeroAblation
from vlmflow.engine.modules import find_module, find_output_projection, head_count, key_head_count
from vlmflow.engine.plain import plain
from vlmflow.errors import InterventionError

MEASURED = [name for name, family in measured_families().items() if not family.refused_at_record]


@pytest.mark.parametrize("name", MEASURED)
def test_heads_equal_the_plain_method(name):
    vlm = model(name)
    prompt = prompt_of(vlm)
    recording = vlm.record(prompt)
    image, question, last = (prompt.positions(segment) for segment in ("image", "question", "last"))
    layer = next(number for number, call in enumerate(recording.calls) if not call.is_recurrent)
    heads = head_count(vlm.layers[layer])
    assert heads % key_head_count(vlm.layers[layer]) == 0
    assert recording.calls[layer].keys.shape[1] in (key_head_count(vlm.layers[layer]), 1)
    some = torch.tensor([0, heads - 1])
    interventions = [
        AttentionKnockout(image, question, layer, layer + 1, some[1:]),
        AttentionKnockout(question, last, layer, layer + 1, some[:1]),
        HeadAblation(some[1:], last, layer, layer + 1),
        HeadAblation(torch.arange(heads), last, layer, layer + 1),
        ZeroAblation("attention", last, layer, layer + 1),
    ]
    positions = torch.cat([question, last])
    fast = vlm.replay(recording, interventions, positions)
    slow = plain(vlm.model, vlm.layers, prompt.inputs, interventions, positions)
    tolerance = measured_families()[name].tolerance
    assert ((fast - slow).abs().max() / slow.abs().max()).item() <= tolerance
    changed = (slow - recording.output[0, positions]).abs().amax(dim=(1, 2)) / slow.abs().max()
    assert (changed > 1e-4).sum() >= (4 if layer < len(vlm.layers) - 1 else 3)
    # No output of any head is no output of the attention, but for the bias of its projection.
    if find_output_projection(vlm.layers[layer]).bias is None:
        assert ((fast[3] - fast[4]).abs().max() / slow.abs().max()).item() <= tolerance


@pytest.mark.parametrize("name", MEASURED)
def test_the_output_of_an_mlp_is_replaced_at_its_positions_alone(name):
    """Some mixtures of experts return the states of all positions without the batch."""
    vlm = model(name)
    try:
        find_module(vlm.layers[-1], "mlp")
    except InterventionError:
        assert name == "BLIP-2 with OPT"
        return
    prompt = prompt_of(vlm)
    recording = vlm.record(prompt)
    question, last = prompt.positions("question"), prompt.positions("last")
    final = len(vlm.layers) - 1
    donated = vlm.site_states(prompt, "mlp", question)[final]
    interventions = [
        ZeroAblation("mlp", last, final, final + 1),
        ZeroAblation("mlp", question, 0, 1),
        StatePatch(question, donated, final, "mlp"),  # its own
    ]
    positions = torch.cat([question, last])
    fast = vlm.replay(recording, interventions, positions)
    slow = plain(vlm.model, vlm.layers, prompt.inputs, interventions, positions)
    tolerance, size = measured_families()[name].tolerance, slow.abs().max()
    assert ((fast - slow).abs().max() / size).item() <= tolerance
    intact = recording.output[0, positions]
    assert ((fast[0] - intact)[:-1].abs().max() / size).item() <= tolerance  # only the last position is another one
    assert ((fast[0] - intact)[-1].abs().max() / size).item() > 1e-4
    assert ((fast[2] - intact).abs().max() / size).item() <= tolerance
