"""Attention weights and norms, against `eager` attention and a vector for every pair of positions and head."""

import pytest
import torch

from support.decoders import DECODERS, random_decoder
from support.rows import shown
from vlmflow.engine.attention_stats import attention_stats
from vlmflow.engine.modules import find_layers
from vlmflow.engine.prefix import can_share
from vlmflow.errors import NotApplicableError


def norms_pair_by_pair(vlm, prompt, targets):
    """(weights, norms), both (layers, N), from `eager` attention and a vector for every pair of positions and head."""
    vlm.model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            out = vlm.model(**prompt.inputs, output_attentions=True, output_hidden_states=True)
    finally:
        vlm.model.set_attn_implementation("sdpa")
    weights, norms = [], []
    for layer, given_, maps in zip(vlm.layers, out.hidden_states, out.attentions, strict=False):
        block = layer.self_attn
        values = block.v_proj(layer.input_layernorm(given_))[0]
        heads, width = maps.shape[1], block.head_dim
        shared = heads // (values.shape[1] // width)
        norm = torch.zeros(len(targets), len(values), dtype=torch.float64)
        for row, i in enumerate(targets):
            for j in range(len(values)):
                total = 0
                for head in range(heads):
                    key_head = head // shared
                    value = values[j, key_head * width : (key_head + 1) * width]
                    part = block.o_proj.weight[:, head * width : (head + 1) * width]
                    total = total + maps[0, head, i, j] * (part @ value)
                norm[row, j] = total.norm()
        weights.append(maps[0][:, targets].mean(dim=(0, 1)))
        norms.append(norm.mean(dim=0))
    return torch.stack(weights).double(), torch.stack(norms)


def test_weights_and_norms_equal_the_sum_over_pairs(random_vlm, noise_questions):
    prompt = shown(random_vlm, noise_questions[0])
    segments = ["image", "question", "last"]
    found = random_vlm.attention_stats(prompt, segments)
    with torch.no_grad():
        for segment in segments:
            weights, norms = norms_pair_by_pair(random_vlm, prompt, prompt.positions(segment).tolist())
            # Its softmax is in float32, whatever the model is.
            torch.testing.assert_close(found[segment].weights, weights, rtol=0, atol=1e-6)
            torch.testing.assert_close(found[segment].norms, norms, rtol=0, atol=1e-5)
            torch.testing.assert_close(found[segment].weights.sum(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("name", DECODERS)
def test_weights_equal_eager_attention_in_other_architectures(name):
    model = random_decoder(name)
    layers = find_layers(model)
    inputs = {"input_ids": torch.randint(0, 50, (1, 14), generator=torch.Generator().manual_seed(1))}
    targets = {"some": torch.tensor([9, 12]), "last": torch.tensor([13])}
    if not can_share(model.model):
        with pytest.raises(NotApplicableError, match="does not allow its attention function to be exchanged"):
            attention_stats(model, layers, inputs, targets)
        return
    before = model(**inputs).logits
    found = attention_stats(model, layers, inputs, targets)
    torch.testing.assert_close(model(**inputs).logits, before, rtol=0, atol=0)
    assert not any(part._forward_pre_hooks for part in model.modules())
    model.set_attn_implementation("eager")
    maps = model(**inputs, output_attentions=True).attentions
    for segment, positions in targets.items():
        expected = torch.stack([each[0][:, positions].mean(dim=(0, 1)) for each in maps])
        torch.testing.assert_close(found[segment].weights, expected, rtol=0, atol=1e-6, check_dtype=False)
        # What is not looked at gives nothing.
        assert (found[segment].norms[expected < 1e-9] == 0).all()
        assert (found[segment].norms[expected > 1e-3] > 0).all()


def test_smaller_blocks_give_the_same_result(random_vlm, noise_questions, monkeypatch):
    prompt = shown(random_vlm, noise_questions[0])
    whole = random_vlm.attention_stats(prompt, ["image", "last"])
    monkeypatch.setattr("vlmflow.engine.attention_stats.QUERIES", 2)
    monkeypatch.setattr("vlmflow.engine.attention_stats.KEYS", 3)
    cut = random_vlm.attention_stats(prompt, ["image", "last"])
    for segment, look in whole.items():
        torch.testing.assert_close(cut[segment].norms, look.norms, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(cut[segment].weights, look.weights, rtol=1e-12, atol=1e-12)
