"""Words under zero ablations and knockouts, against full forwards of a model whose modules are patched."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.paths import random_llava
from support.random_prompts import prompt_with_segments as prompt_of
from support.zeroed import Zeroed
from vlmflow.edges import module_layers, window_layers
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.errors import InterventionError, ModelError
from vlmflow.probes import WordsProbe
from vlmflow.probes.pruning.measure import answers_without_image
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.words.measure import words


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
def test_words_under_zero_ablation_equal_a_patched_model(seed, layers, window, top, pooled):
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


def test_words_under_knockout_equal_the_plain_method():
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


def test_a_zero_ablation_begins_at_its_layer_and_is_cut_at_the_models_end():
    """[flow] appendix D: from l on, cut at the model's end."""
    assert [list(module_layers(layer, 3, 5)) for layer in range(5)] == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4], [4]]
    assert list(module_layers(0, 9, 4)) == [0, 1, 2, 3]
    for layer, window in ((5, 1), (-1, 1), (0, 0)):
        with pytest.raises(ValueError, match=r"layer|window"):
            module_layers(layer, window, 5)


def test_a_model_without_such_modules_is_refused_before_any_question(monkeypatch):
    vlm = random_llava()
    monkeypatch.setattr(
        "vlmflow.engine.modules.find_module", lambda *_: (_ for _ in ()).throw(InterventionError("none"))
    )
    with pytest.raises(ModelError, match=r"probes\.d\.modules: none"):
        ProbeRun(vlm, WordsProbe(kind="words", modules=["mlp"], window=1), "d")


def test_states_that_are_no_numbers_are_an_error(monkeypatch):
    vlm = random_llava()
    prompt = prompt_of(vlm, 2)
    nothing = torch.full((3, 10, 16), float("nan")).double()
    monkeypatch.setattr(vlm, "replay", lambda *_: nothing)
    with pytest.raises(InterventionError, match="not finite numbers"):
        words(vlm, prompt, modules=["mlp"], window=1)
    with pytest.raises(InterventionError, match="not finite numbers"):
        answers_without_image(vlm, prompt, [0, 1])
