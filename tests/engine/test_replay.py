"""The engine against the plain method: one full forward per knockout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

from support.decoders import DECODERS, SMALL, random_decoder
from support.paths import random_llava
from support.random_prompts import EDGES
from support.random_prompts import prompt_with_words as prompt_of
from vlmflow.edges import FLOW_EDGES, EdgeGroup, window_layers
from vlmflow.engine import replay
from vlmflow.engine.batch_size import AdaptiveBatchSize
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.masks import first_changed
from vlmflow.engine.modules import find_layers, find_norm
from vlmflow.engine.plain import plain
from vlmflow.engine.prefix import CopiedPrefix, SharedPrefix, can_share
from vlmflow.engine.record import record
from vlmflow.errors import InterventionError
from vlmflow.probes.knockout.measure import edge_knockouts, knockout


def assert_equal_to_plain(vlm, prompt, edges, window, tolerance):
    rows = knockout(vlm, prompt, edges, window)
    recording = vlm.record(prompt)
    p_base, token = vlm.logits(recording.output[0, -1]).softmax(-1).max(-1)
    knockouts = [k for edge in edges for _, k in edge_knockouts(EdgeGroup.parse(edge), prompt, window, len(vlm.layers))]
    states = plain(vlm.model, vlm.layers, prompt.inputs, knockouts)
    expected = vlm.logits(states[:, 0]).softmax(-1)[:, token]
    measured = torch.tensor(rows["p_knockout"].to_list(), dtype=expected.dtype)
    assert ((measured - expected).abs() / expected).max() <= tolerance
    # The check has teeth: the knockouts do change the answer.
    assert ((expected - p_base).abs() / p_base).max() > 1e-4


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 5),
    grid=st.integers(2, 4),
    key_heads=st.sampled_from([1, 2]),
    window=st.sampled_from([1, 3, 5, 9, 15]),
    words=st.lists(st.sampled_from(["the", "left", "red", "square", "?"]), max_size=6),
    edges=st.lists(st.sampled_from(EDGES), min_size=1, max_size=4, unique=True),
)
def test_replay_equals_plain_in_float64(seed, layers, grid, key_heads, window, words, edges):
    vlm = random_llava(layers, grid, seed=seed, key_heads=key_heads)
    # "last -> last" alone may change little at one layer; with another edge the sweep always has teeth.
    assert_equal_to_plain(vlm, prompt_of(vlm, words, grid), [*edges, "question -> last"], window, 1e-9)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), layers=st.integers(2, 5), window=st.sampled_from([1, 3, 9]))
def test_replay_equals_plain_in_float32(seed, layers, window):
    vlm = random_llava(layers, 3, seed=seed, dtype=torch.float32)
    assert_equal_to_plain(vlm, prompt_of(vlm, [], 3), EDGES, window, 1e-4)


def test_an_image_of_one_token():
    vlm = random_llava(layers=3, grid=1)
    edges = ["question -> last", "image -> last", "image -> question", "related patches -> question"]
    assert_equal_to_plain(vlm, prompt_of(vlm, [], 1), edges, 3, 1e-9)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_replay_equals_plain_with_both_forms_of_masks(attention):
    vlm = random_llava(layers=3)
    vlm.model.set_attn_implementation(attention)
    assert_equal_to_plain(vlm, prompt_of(vlm, [], 2), EDGES, 3, 1e-9)


def test_the_batch_size_does_not_matter():
    vlm = random_llava(layers=4, grid=3)
    prompt = prompt_of(vlm, [], 3)
    recording = vlm.record(prompt)
    knockouts = [k for edge in EDGES for _, k in edge_knockouts(EdgeGroup.parse(edge), prompt, 3, 4)]
    whole = replay.replay(vlm.layers, recording, knockouts)
    for prefix in (CopiedPrefix(), SharedPrefix()):
        for tokens in (1, 40, 100):
            sizes = AdaptiveBatchSize(tokens)
            parts = replay.replay(vlm.layers, recording, knockouts, batch_size=sizes, prefix=prefix)
            torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-14)


def test_layers_that_keep_compressed_keys():
    """What they keep is put before a row's own; its positions turn in single precision, whatever the weights are in."""
    torch.manual_seed(0)
    sizes = {"kv_lora_rank": 8, "q_lora_rank": None, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
    config = DeepseekV2Config(**{**SMALL, "num_key_value_heads": 4, "head_dim": 4, **sizes}, first_k_dense_replace=4)
    model = DeepseekV2ForCausalLM(config).double().eval()
    assert not can_share(model.model)
    layers, inputs = find_layers(model), {"input_ids": torch.randint(50, (1, 12))}
    recording, _ = record(model, layers, inputs)
    assert recording.calls[0].keys.shape != recording.calls[0].values.shape
    knockouts = [AttentionKnockout(torch.arange(2, 5), torch.arange(6, 12), start, start + 2) for start in range(3)]
    replayed = replay.replay(layers, recording, knockouts)
    torch.testing.assert_close(replayed, plain(model, layers, inputs, knockouts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prefix", [CopiedPrefix(), SharedPrefix()], ids=["copied prefix", "shared prefix"])
@pytest.mark.parametrize("name", DECODERS)
def test_replay_equals_plain_in_every_architecture(name, prefix):
    model = random_decoder(name)
    if isinstance(prefix, SharedPrefix) and not can_share(model.model):
        pytest.skip("the decoder computes its own attention, which the shared prefix is not")
    layers = find_layers(model)
    assert find_norm(model) is model.model.norm
    inputs = {"input_ids": torch.randint(0, 50, (1, 14), generator=torch.Generator().manual_seed(1))}
    recording, logits = record(model, layers, inputs)
    sources, targets, last = torch.arange(6, 9), torch.arange(9, 12), torch.tensor([13])
    spans = [window_layers(layer, 3, 4) for layer in range(4)]
    knockouts = [
        AttentionKnockout(s, t, span.start, span.stop)
        for s, t in ((sources, targets), (targets, last), (last, last))
        for span in spans
    ]
    expected = plain(model, layers, inputs, knockouts)
    replayed = replay.replay(layers, recording, knockouts, prefix=prefix)
    torch.testing.assert_close(replayed, expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(expected[0, 0], recording.output[0, -1])
    if not getattr(model.config, "final_logit_softcapping", None):
        torch.testing.assert_close(model.lm_head(model.model.norm(recording.output[:, -1])), logits)


def test_sources_that_only_some_layers_can_see():
    """In a layer whose window hides them anyway the knockout changes nothing, in the others it does."""
    torch.manual_seed(0)
    kinds = ["sliding_attention", "full_attention"] * 2
    model = Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, sliding_window=5, layer_types=kinds)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    inputs = {"input_ids": torch.randint(0, 50, (1, 14))}
    layers = find_layers(model)
    recording, _ = record(model, layers, inputs)
    knockouts = [AttentionKnockout(torch.arange(1, 4), torch.tensor([13]), layer, layer + 1) for layer in range(4)]
    replayed = replay.replay(layers, recording, knockouts)
    torch.testing.assert_close(replayed, plain(model, layers, inputs, knockouts), rtol=1e-9, atol=1e-12)
    changed = (replayed - recording.output[0, -1]).abs().amax(dim=(1, 2)) > 1e-9
    assert changed.tolist() == [False, True, False, True]


def test_a_bidirectional_block_moves_the_start_of_the_suffix():
    may_attend = torch.ones(8, 8, dtype=torch.bool).tril()
    assert first_changed(may_attend, 5) == 5
    may_attend[2:6, 2:6] = True
    assert first_changed(may_attend, 6) == 6
    assert first_changed(may_attend, 5) == 2


@pytest.mark.parametrize("prefix", [CopiedPrefix(), SharedPrefix()], ids=["copied prefix", "shared prefix"])
def test_a_bidirectional_prefix_from_end_to_end(prefix):
    """As in PaliGemma: whatever changes in the prefix changes all of it, so the suffix begins at 0."""
    torch.manual_seed(0)
    model = DECODERS["llama"]().double().eval()
    mask = torch.ones(1, 1, 12, 12, dtype=torch.bool).tril()
    mask[..., :8, :8] = True
    inputs = {"input_ids": torch.randint(0, 50, (1, 12)), "attention_mask": mask}
    layers = find_layers(model)
    recording, _ = record(model, layers, inputs)
    pairs = [(torch.arange(2, 4), torch.arange(4, 8)), (torch.arange(2, 4), torch.arange(8, 12))]
    knockouts = [AttentionKnockout(s, t, layer, layer + 1) for s, t in pairs for layer in range(4)]
    expected = plain(model, layers, inputs, knockouts)
    replayed = replay.replay(layers, recording, knockouts, prefix=prefix)
    torch.testing.assert_close(replayed, expected, rtol=1e-9, atol=1e-12)
    assert first_changed(recording.may_attend.layer(0), 4) == 0


def test_recording_leaves_the_model_as_it_was():
    vlm = random_llava()
    prompt = prompt_of(vlm, [], 2)
    before = vlm.model(**prompt.inputs).logits
    knockout(vlm, prompt, ["question -> last"], 3)
    torch.testing.assert_close(vlm.model(**prompt.inputs).logits, before, rtol=0, atol=0)
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in vlm.layers)


@pytest.mark.parametrize(
    ("sources", "targets", "layers", "message"),
    [
        ([], [4], (0, 1), "at least one source"),
        ([1], [], (0, 1), "at least one source"),
        ([1], [4], (2, 2), "the model has 0 to 2"),
        ([1], [4], (0, 9), "the model has 0 to 2"),
        ([5], [4], (0, 1), "nothing to knock out"),
        ([0], [0], (0, 1), "position 0 would have nothing to attend to"),
    ],
)
def test_knockouts_without_meaning_are_refused(sources, targets, layers, message):
    vlm = random_llava()
    recording = vlm.record(prompt_of(vlm, [], 2))
    pointless = AttentionKnockout(
        torch.tensor(sources, dtype=torch.long), torch.tensor(targets, dtype=torch.long), *layers
    )
    with pytest.raises(InterventionError, match=message):
        replay.replay(vlm.layers, recording, [pointless])


def test_logits_that_are_no_numbers_are_an_error():
    vlm = random_llava()
    with torch.no_grad():
        vlm.unembedding.weight[0, 0] = float("nan")
    with pytest.raises(InterventionError, match="not finite"):
        vlm.record(prompt_of(vlm, [], 2))


def test_the_work_is_a_few_forwards_instead_of_hundreds():
    """Token-layers, counted: the cost that the benchmark measures in seconds, at the benchmark's size."""
    vlm = random_llava(layers=16, grid=24, dtype=torch.float32)
    prompt = prompt_of(vlm, ["the"], 24)
    counted = []
    for layer in vlm.layers:
        layer.register_forward_pre_hook(lambda module, args: counted.append(args[0].shape[0] * args[0].shape[1]))
    vlm.knockout(prompt, FLOW_EDGES, 9)
    plain = len(FLOW_EDGES) * 16 * 16 * len(prompt)
    assert sum(counted) < plain / 30
    forward = 16 * len(prompt)
    assert sum(counted) < 3 * forward
