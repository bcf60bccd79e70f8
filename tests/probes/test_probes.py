"""Every probe against a direct, slow way to the same numbers: full forwards of a model whose parts are patched."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeDecoderLayer

from support import tiny_models
from support.decoders import DECODERS
from support.paths import random_llava
from support.random_prompts import QUESTION, noise, talking_llava
from support.random_prompts import prompt_with_segments as prompt_of
from vlmflow.edges import ALL_EDGES, Edge, module_layers, window_layers
from vlmflow.engine.interventions import AttentionKnockout, ZeroAblation
from vlmflow.engine.masks import last_needed
from vlmflow.engine.modules import find_module
from vlmflow.engine.plain import plain
from vlmflow.engine.record import record
from vlmflow.engine.replay import replay
from vlmflow.errors import InterventionError, ModelError, NotApplicableError
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes import WordsProbe
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.norms.sinks import sinks, threshold_of
from vlmflow.probes.pruning.measure import answers_without_image, pruning
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.words.measure import words
from vlmflow.prompts.layouts.registry import find_patch_map

EDGES = ["question -> last", "image -> last", "image -> question", "question without options -> true option"]


class Zeroed:
    """While it lasts, modules give zero at some positions."""

    def __init__(self, modules, positions):
        self.modules, self.positions = modules, positions

    def __enter__(self):
        self.own = [module.forward for module in self.modules]
        for module, own in zip(self.modules, self.own, strict=True):
            module.forward = self.zeroing(own)

    def __exit__(self, *_):
        for module, own in zip(self.modules, self.own, strict=True):
            module.forward = own

    def zeroing(self, own):
        def forward(*args, **kwargs):
            output = own(*args, **kwargs)
            states = (output[0] if isinstance(output, tuple) else output).clone()
            for position in self.positions:
                states[:, position] = 0
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return forward


def probability(vlm, inputs, token, knockouts=()):
    """Of a token after the last position, by one full forward with edges blocked."""
    if not knockouts:
        return vlm.model(**inputs).logits[0, -1].softmax(-1)[token].item()
    return vlm.logits(plain(vlm.model, vlm.layers, inputs, knockouts)[:, -1]).softmax(-1)[:, token].tolist()


@pytest.mark.oracle("knockout")
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 5), key_heads=st.sampled_from([1, 2]))
def test_one_recording_serves_all_windows(seed, layers, key_heads):
    vlm = random_llava(layers, 3, seed=seed, key_heads=key_heads)
    prompt = prompt_of(vlm, 3)
    windows = [window for window in (1, 3, 5, 7) if window <= layers]
    rows = knockout(vlm, prompt, EDGES, windows)
    assert len(rows) == len(EDGES) * len(windows) * layers
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    base = probability(vlm, prompt.inputs, token)
    for row in rows.iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], row["window"], layers)
        blocked = AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), span.start, span.stop)
        (expected,) = probability(vlm, prompt.inputs, token, [blocked])
        assert row["p_base"] == pytest.approx(base, rel=1e-9)
        assert row["p_knockout"] == pytest.approx(expected, rel=1e-9)
        assert row["change"] == pytest.approx((expected - base) / base * 100, rel=1e-6, abs=1e-7)


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), answer=st.lists(st.integers(5, 20), min_size=1, max_size=4))
def test_the_last_sub_word_with_the_earlier_ones_given(seed, answer):
    vlm = random_llava(3, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    rows = knockout(vlm, prompt, EDGES, 3, answer)
    ids = prompt.inputs["input_ids"]
    given_ids = torch.cat([ids, torch.tensor([answer[:-1]], dtype=torch.long)], dim=1)
    inputs = prompt.inputs | {"input_ids": given_ids, "attention_mask": torch.ones_like(given_ids)}
    base = probability(vlm, inputs, answer[-1])
    for row in rows.iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], 3, 3)
        last = torch.tensor([given_ids.shape[1] - 1])
        target = last if edge.target == "last" else prompt.positions(edge.target)
        blocked = AttentionKnockout(prompt.positions(edge.source), target, span.start, span.stop)
        (expected,) = probability(vlm, inputs, answer[-1], [blocked])
        assert row["p_base"] == pytest.approx(base, rel=1e-9)
        assert row["p_knockout"] == pytest.approx(expected, rel=1e-9)


def test_an_answer_of_one_sub_word_is_as_before():
    vlm = random_llava(4, 3)
    prompt = prompt_of(vlm, 3)
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    assert knockout(vlm, prompt, EDGES, 3, [token]).equals(knockout(vlm, prompt, EDGES, 3))


def test_what_has_been_said_is_template():
    vlm = random_llava()
    prompt = prompt_of(vlm, 2)
    longer = vlm.continue_prompt(prompt, [5, 6])
    assert len(longer) == len(prompt) + 2
    assert longer.positions("last").tolist() == [len(prompt) + 1]
    first = int(prompt.positions("question")[-1]) + 1
    assert longer.positions("template").tolist() == list(range(first, len(prompt) + 1))
    assert longer.inputs["attention_mask"].shape == longer.inputs["input_ids"].shape
    assert longer.inputs["pixel_values"] is prompt.inputs["pixel_values"]
    assert vlm.continue_prompt(prompt, []) is prompt
    assert len(prompt) == prompt.inputs["input_ids"].shape[1], "the prompt itself is left as it was"


@pytest.mark.oracle("words")
@settings(max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 4),
    window=st.integers(1, 5),
    top=st.integers(1, 5),
    pooled=st.booleans(),
)
@example(seed=1, layers=4, window=1, top=3, pooled=False)  # the window ends before the model does
@example(seed=2, layers=4, window=2, top=3, pooled=True)
def test_words_under_module_knockout(seed, layers, window, top, pooled):
    vlm = random_llava(layers, 2, seed=seed)
    prompt = prompt_of(vlm, 2)
    rows = words(vlm, prompt, modules=["attention", "mlp"], window=window, top=top, pooled=pooled)
    positions = prompt.positions("question").tolist()

    def said():
        logits = vlm.model(**prompt.inputs).logits[0]
        tops = [(place, int(word)) for place in positions for word in logits[place].topk(top).indices]
        return {word for _, word in tops} if pooled else set(tops)

    intact = said()
    changed = 0
    for row in rows.iter_rows(named=True):
        span = module_layers(row["layer"], window, layers)
        name = "self_attn" if row["intervention"] == "attention" else "mlp"
        with Zeroed([getattr(vlm.layers[layer], name) for layer in span], positions):
            after = said()
        assert row["similarity"] == pytest.approx(len(intact & after) / len(intact | after), abs=1e-12)
        changed += after != intact
    assert changed, "the check has teeth"
    assert said() == intact, "the model is left as it was"


def test_words_under_attention_knockout():
    vlm = random_llava(4, 3, seed=3)
    prompt = prompt_of(vlm, 3)
    rows = words(vlm, prompt, edges=["image -> question"], window=3, top=3)
    positions = prompt.positions("question")
    tops = vlm.model(**prompt.inputs).logits[0, positions].topk(3).indices
    for row in rows.iter_rows(named=True):
        span = window_layers(row["layer"], 3, 4)
        blocked = AttentionKnockout(prompt.positions("image"), positions, span.start, span.stop)
        after = vlm.logits(plain(vlm.model, vlm.layers, prompt.inputs, [blocked], positions)[0]).topk(3).indices
        common = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(tops, after, strict=True))
        assert row["similarity"] == pytest.approx(common / (2 * tops.numel() - common), abs=1e-12)
    assert rows["similarity"].min() < 1


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 4), module=st.sampled_from(["attention", "mlp"]))
def test_states_anywhere_under_any_intervention(seed, layers, module):
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


def test_layers_of_a_module_knockout():
    """[flow] appendix D: from l on, cut at the model's end."""
    assert [list(module_layers(layer, 3, 5)) for layer in range(5)] == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4], [4]]
    assert list(module_layers(0, 9, 4)) == [0, 1, 2, 3]
    for layer, window in ((5, 1), (-1, 1), (0, 0)):
        with pytest.raises(ValueError, match=r"layer|window"):
            module_layers(layer, window, 5)


def test_what_has_to_be_computed_for_what_is_read():
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


def test_modules_are_found_or_refused():
    vlm = random_llava()
    layer = vlm.layers[0]
    assert find_module(layer, "attention") is layer.self_attn
    assert find_module(layer, "mlp") is layer.mlp
    with pytest.raises(InterventionError, match="0 modules that may be its mlp"):
        find_module(torch.nn.TransformerEncoderLayer(4, 1), "mlp")
    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    mixed = Qwen3MoeDecoderLayer(Qwen3MoeConfig(**small, moe_intermediate_size=8, num_experts=2), 0)
    assert find_module(mixed, "attention") is mixed.self_attn
    assert find_module(mixed, "mlp") is mixed.mlp


def test_a_model_without_such_modules_is_refused_before_any_question(monkeypatch):
    vlm = random_llava()
    monkeypatch.setattr(
        "vlmflow.engine.modules.find_module", lambda *_: (_ for _ in ()).throw(InterventionError("none"))
    )
    with pytest.raises(ModelError, match=r"probes\.d\.modules: none"):
        ProbeRun(vlm, WordsProbe(kind="words", modules=["mlp"], window=1), "d")


def test_states_that_are_no_numbers_say_no_words(monkeypatch):
    vlm = random_llava()
    prompt = prompt_of(vlm, 2)
    nothing = torch.full((3, 10, 16), float("nan")).double()
    monkeypatch.setattr(vlm, "replay", lambda *_: nothing)
    with pytest.raises(InterventionError, match="not finite numbers"):
        words(vlm, prompt, modules=["mlp"], window=1)
    with pytest.raises(InterventionError, match="not finite numbers"):
        answers_without_image(vlm, prompt, [0, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Every probe runs as it is, and says about what float32 says."""
    half, single = talking_llava(4, 3, dtype=dtype), talking_llava(4, 3, dtype=torch.float32)
    with torch.no_grad():
        for mine, theirs in zip(single.model.parameters(), half.model.parameters(), strict=True):
            mine.copy_(theirs)
    changes, similarities, norms, image = [], [], [], noise(3)
    for vlm in (half, single):
        prompt = prompt_of(vlm, 3, image)
        changes.append(knockout(vlm, prompt, EDGES, [1, 3], [5, 6])["p_knockout"])
        similarities.append(words(vlm, prompt, modules=["attention", "mlp"], window=2, top=3)["similarity"])
        norms.append(torch.tensor(vlm.feature_norms(prompt)))
        rows = pruning(vlm, prompt, [0, 2], "x", vlm.answer(prompt).token_ids, with_time=True)
        assert rows["time_share"].null_count() == 0
    assert ((changes[0] / changes[1]) - 1).abs().max() < 0.15
    assert (similarities[0] - similarities[1]).abs().max() < 0.35
    torch.testing.assert_close(norms[0], norms[1], rtol=0.02, atol=0)


TEXTS = ["What is it?", QUESTION]


@pytest.mark.oracle("norms")
@pytest.mark.parametrize("kind", ["llava", "llava_next"])
@pytest.mark.parametrize("size", [(60, 60), (90, 50), (50, 120)])
def test_norms_are_those_of_the_encoders_features(kind, size):
    processor = tiny_models.build_processor(kind, "vicuna_v1", TEXTS)
    vlm = VisionLanguageModel(tiny_models.build_model(kind, processor, "red").eval(), processor)
    prompt = vlm.prompt(Image.effect_noise(size, 90).convert("RGB"), "What is it?")
    norms = vlm.feature_norms(prompt)
    assert len(norms) == len(prompt.positions("image"))
    # By hand: the tower's own features of the layer that the model takes, without the class token.
    pixels = prompt.inputs["pixel_values"].flatten(0, -4)
    states = vlm.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    features = states[vlm.model.config.vision_feature_layer][:, 1:].norm(dim=-1).double()
    cut = find_patch_map(processor, size)
    assert [number for number, norm in enumerate(norms) if norm is None] == sorted(cut.no_patch)
    assert norms[:9] == pytest.approx(features[0].tolist(), rel=1e-6)
    if kind == "llava":
        assert len(norms) == 9
    else:
        # Of the tiles, what is left without the margins: a row of patches after the other.
        rest = [norm for norm in norms[9:] if norm is not None]
        assert rest
        tiles = features[1:].flatten()
        assert all((tiles - norm).abs().min() < 1e-5 * norm for norm in rest)


def test_norms_of_a_model_that_joins_features():
    vlm = random_llava()
    vlm.model.model.multi_modal_projector = torch.nn.Sequential(torch.nn.AvgPool1d(1), torch.nn.Flatten())
    prompt = prompt_of(vlm, 2)
    with pytest.raises(NotApplicableError, match="joins features"):
        vlm.feature_norms(prompt)


def test_sinks_lie_above_the_threshold():
    import polars as pl

    assert sinks([1.0, None, 57.0, 57.1], 57) == [3]
    norms = pl.Series([[1.0, 2.0, None], [3.0, 4.0]])
    assert threshold_of(norms, 0.5) == 2.5
    vlm = random_llava(grid=2)
    prompt = prompt_of(vlm, 2)
    image = prompt.positions("image").tolist()
    assert prompt.positions("sinks").tolist() == image[:2]
    assert prompt.positions("related patches").tolist() == [image[0], image[2]]
    assert prompt.positions("related patches without sinks").tolist() == [image[2]]
    assert prompt.positions("other patches without sinks").tolist() == [image[3]]


def test_every_edge_of_the_atlas_is_as_the_plain_method_has_it():
    vlm = random_llava(3, 3, seed=1)
    prompt = prompt_of(vlm, 3)
    rows = knockout(vlm, prompt, ALL_EDGES, [1, 3])
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    knockouts = []
    for row in rows.iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], row["window"], 3)
        knockouts.append(
            AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), span.start, span.stop)
        )
    assert rows["p_knockout"].to_list() == pytest.approx(probability(vlm, prompt.inputs, token, knockouts), rel=1e-9)


def test_all_edges_lead_on():
    assert len(set(ALL_EDGES)) == len(ALL_EDGES) == 47
    for text in ALL_EDGES:
        Edge.parse(text)
    assert "template -> last" in ALL_EDGES
    assert "image -> template" in ALL_EDGES
    assert not any("sinks" in text or "caption" in text for text in ALL_EDGES)
