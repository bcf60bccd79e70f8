"""Probes of how image and words meet on models in which it is known: what is looked at, needed, and said where."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings

from support.paths import random_llava
from support.planted import BITS, prompt_of, scene, stages
from support.questions import make_question, thing
from vlmflow.calibration.planted import ONE, QUESTION, Plant, build_planted, code_word
from vlmflow.probes.attention.measure import attention
from vlmflow.probes.attention_map.measure import attention_map
from vlmflow.probes.budget.measure import budget
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.occlusion.measure import occlusion
from vlmflow.probes.output_lens.measure import output_lens
from vlmflow.probes.visual_lens.measure import visual_lens

RELATED = 7  # the patch of the related object: 6 × 6 patches, row 1, column 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


def row_of(shown, folder, answer, **more):
    path = folder / f"{shown.related_bits}.png"
    shown.image.save(path)
    about = {"id": "1", "image_id": "1", "image": str(path), "image_size": shown.image.size, "text": QUESTION}
    return make_question(**about, answer=answer, objects=(thing("picture", shown.related),), **more)


@pytest.mark.planted("attention")
@settings(max_examples=15)
@given(at=stages(2), bits=BITS)
def test_planted_attention_is_found_in_weights_and_norms(at, bits):
    """One of four heads is planted, and the others look at everything alike and take nothing: weights blur what norms
    show."""
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    prompt = prompt_of(vlm, scene(bits))
    planted = {"related patches -> question": related, "question -> last": last}
    edges = [*planted, "other patches -> question", "image -> last"]
    rows = attention(vlm, prompt, edges)
    for row in rows.to_dicts():
        looked = row["layer"] == planted.get(row["edge"])
        assert row["norm"] > 0.5 if looked else row["norm"] < 1e-3, row
        if looked:
            assert row["share"] == pytest.approx(100, abs=0.1)
            assert 25 < row["weight"] < 50
    looking = attention(vlm, prompt, ["image -> question"]).filter(layer=related)
    assert looking["concentration"].item() == pytest.approx(100, abs=0.1), "one patch of nine"
    # Most of the attention goes to other patches, in every layer, and brings nothing.
    blurred = rows.filter(pl.col("edge") == "other patches -> question")
    assert blurred["weight"].min() > 50
    assert blurred["norm"].max() < 1e-3


@pytest.mark.planted("attention-map")
@settings(max_examples=8)
@given(at=stages(2), bits=BITS)
def test_the_attention_map_shows_the_planted_patch(at, bits, tmp_path_factory):
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    shown = scene(bits)
    row = row_of(shown, tmp_path_factory.getbasetemp(), "")
    found = attention_map(vlm, prompt_of(vlm, shown), row.image, ["question"])
    for layer, weight, share in found.select("layer", "weight", "share").iter_rows():
        if layer == related:
            assert int(np.argmax(weight)) == int(np.argmax(share)) == RELATED
            assert share[RELATED] == pytest.approx(100, abs=0.1)
        # What comes with everything else is the same from all patches.
        others = np.delete(weight, RELATED)
        assert max(others) - min(others) < 1e-3


@pytest.mark.planted("occlusion")
@pytest.mark.parametrize("bits", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_occlusion_finds_only_the_cell_of_the_object(folder, bits):
    vlm = build_planted(Plant.through_question(4, 1, 3))
    shown = scene(bits)
    prompt = prompt_of(vlm, shown)
    said = vlm.answer(prompt)
    row = row_of(shown, folder, code_word(bits, 0), token_ids=said.token_ids)
    growth = np.array(occlusion(ProbeContext(vlm), row, prompt, 6)["loss_increase"][0])
    assert int(growth.argmax()) == RELATED
    assert growth[RELATED] > 0.3
    assert np.abs(np.delete(growth, RELATED)).max() < 1e-3
    # Three patches a cell's side: the object is in the first of four.
    coarse = occlusion(ProbeContext(vlm), row, prompt, 2)["loss_increase"][0].to_list()
    assert coarse[0] > 0.3
    assert max(map(abs, coarse[1:])) < 1e-3


@pytest.mark.planted("budget")
def test_the_loss_falls_once_the_objects_token_is_kept(folder):
    vlm = build_planted(Plant.through_question(4, 1, 3))
    shown = scene((1, 0))
    said = vlm.answer(prompt_of(vlm, shown))
    row = row_of(shown, folder, said.text.lower(), token_ids=said.token_ids)
    found = budget(ProbeContext(vlm), row, prompts={"own": "{question}"}, keep=["first", "random"], draws=8)
    first = found.filter(pl.col("keep") == "first").sort("tokens_kept")
    # Tokens 0 to 7 are the first eight, and the last of them is the object's.
    assert first["tokens_kept"].to_list() == [0, 1, 2, 4, 8, 16, 32, 36]
    losses = first["loss"].to_list()
    assert min(losses[:4]) > 0.3
    assert max(losses[4:]) < 1e-3
    random = found.filter(pl.col("keep") == "random").sort("tokens_kept")["loss"].to_list()
    assert random[0] > random[5] > random[-1]


@pytest.mark.planted("output-lens")
@settings(max_examples=15)
@given(at=stages(2), bits=BITS)
def test_states_agree_with_the_output_from_the_layer_on_that_brings_the_answer(at, bits, tmp_path_factory):
    """The last position and the question's words are certain of the answer once they have its code, and of nothing
    before; the image's and the template's positions never have it."""
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    with torch.no_grad():
        # Without the code all words are alike; one of them is a little more probable, so that no rounding decides.
        vlm.unembedding.weight[vlm.processor.tokenizer.unk_token_id, ONE] = 0.05
    row = row_of(scene(bits), tmp_path_factory.getbasetemp(), "")
    segments = ["image", "question", "template", "last"]
    found = output_lens(ProbeContext(vlm), row, {"own": "{question}"}, segments)
    most = np.log2(vlm.unembedding.out_features)
    known = {"question": related, "last": last}  # elsewhere the output is that of a state without the code
    assert found.select("segment", "layer").rows() == [(name, n) for name in segments for n in range(-1, layers)]
    for each in found.to_dicts():
        if each["layer"] >= known.get(each["segment"], layers):
            assert each["entropy"] < 1e-3, each
            assert each["agreement"] == 100, each
        else:
            assert each["entropy"] == pytest.approx(most, abs=0.01), each
            assert each["agreement"] == (0 if each["segment"] in known else 100), each


@pytest.mark.planted("visual-lens")
def test_patches_decode_to_the_planted_word(folder):
    """Features that are a word's direction decode to that word, at every layer of a decoder that changes nothing."""
    vlm = random_llava(layers=2, grid=6, width=32)
    token = vlm.processor.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        for layer in vlm.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        directions = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64))[0]
        vlm.unembedding.weight.copy_(8 * directions[: vlm.unembedding.out_features])
        projector = vlm.model.model.multi_modal_projector
        projector.linear_2.weight.zero_()
        projector.linear_2.bias.copy_(directions[token("circle")])
    shown = scene((1, 0))
    row = replace(row_of(shown, folder, "red"), text="is the circle red ?", objects=(thing("circle", shown.related),))
    other = replace(row, id="2", image_id="2", text="is the square red ?", objects=(thing("square", shown.related),))
    found = visual_lens(
        ProbeContext(vlm, questions=[row, other]),
        row,
        top=1,
        instructions=["correct", "wrong", "none"],
        instruction_positions=["after", "before"],
        keep_words=True,
    )
    assert len(found) == 2 * 3 * 3
    assert set(found["object"]) == {100.0}
    assert set(found["elsewhere"]) == {100.0}  # every patch is planted alike
    assert set(found["shuffled"]) == {0.0}
    assert set(found["words"]) == {100.0}
    assert set(found["agreement"]) == {100.0}
    assert found["entropy"].max() < 1e-3
    assert found.filter(pl.col("instruction") == "correct")["decoded"][0].to_list() == ["circle"] * 36
