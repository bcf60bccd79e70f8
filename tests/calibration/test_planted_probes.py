"""Every probe on models whose flow is planted: it shows what was planted, where it was, and nothing else."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.planted import BITS, prompt_of, scene, stages
from vlmflow.calibration.planted import QUESTION, Copy, Plant, build_planted, caption_word, code_word, tail_word
from vlmflow.edges import ALL_EDGES, Edge, module_layers, window_layers
from vlmflow.notebook import LanguageModel
from vlmflow.probes.effects import last_sub_word
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.lens.measure import lens
from vlmflow.probes.norms.sinks import sinks
from vlmflow.probes.pruning.measure import answers_without_image, pruning
from vlmflow.probes.words.measure import words
from vlmflow.prompts.build import Patches


def assert_changes(rows, planted, layers):
    """Only windows that hold a planted layer of their edge change anything; `planted` is edge → layers."""
    for row in rows.iter_rows(named=True):
        inside = planted.get(row["edge"], set()) & set(window_layers(row["layer"], row["window"], layers))
        assert row["change"] < -45 if inside else abs(row["change"]) < 1, row


@pytest.mark.planted("knockout")
@settings(max_examples=15)
@given(at=stages(2), bits=BITS)
def test_every_window_finds_its_layers(at, bits):
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    prompt = prompt_of(vlm, scene(bits))
    edges = ["image -> question", "question -> last", "image -> last"]
    planted = {"image -> question": {related}, "question -> last": {last}}
    assert_changes(knockout(vlm, prompt, edges, [1, 3, 5, 7]), planted, layers)


@settings(max_examples=15)
@given(at=stages(3), bits=BITS, window=st.sampled_from([1, 3]))
def test_the_last_sub_word_has_a_flow_of_its_own(at, bits, window):
    """The first sub-word comes through the question, the second one straight from the image."""
    layers, (related, last, said) = at
    vlm = build_planted(Plant.two_words(layers, related, last, said))
    prompt = prompt_of(vlm, scene(bits))
    answer = vlm.answer(prompt)
    assert answer.text == f"{code_word(bits, 0)} {tail_word(bits)}"
    edges = ["question -> last", "image -> last", "image -> question"]
    first = {"question -> last": {last}, "image -> question": {related}}
    assert_changes(knockout(vlm, prompt, edges, window), first, layers)
    last = last_sub_word(vlm, prompt, answer.token_ids)
    assert_changes(knockout(vlm, prompt, edges, window, last), {"image -> last": {said}}, layers)


@pytest.mark.planted("lens")
@settings(max_examples=15)
@given(at=stages(2), bits=BITS)
def test_the_lens_finds_the_answer_from_the_planted_layer_on(at, bits):
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    words_by_name = {"answer": code_word(bits, 0), "another": code_word((1 - bits[0], bits[1]), 0)}
    for row in lens(vlm, prompt_of(vlm, scene(bits)), words_by_name).iter_rows(named=True):
        if row["layer"] < last:
            assert row["probability"] < 0.1, row
        else:
            assert row["probability"] == pytest.approx(float(row["word"] == "answer"), abs=1e-3), row


@pytest.mark.planted("words")
@settings(max_examples=15)
@given(at=stages(2), bits=BITS, window=st.integers(1, 4))
def test_the_planted_module_makes_the_words(at, bits, window):
    """Attention brings the code to the question, a later MLP makes a word of it: each is missed in its own layer."""
    layers, (related, mlp) = at
    vlm = build_planted(Plant((Copy("related patches", "question", related),), layers, mlp=mlp))
    rows = words(vlm, prompt_of(vlm, scene(bits)), modules=["attention", "mlp"], window=window, top=1)
    for row in rows.iter_rows(named=True):
        needed = related if row["intervention"] == "attention" else mlp
        hit = needed in module_layers(row["layer"], window, layers)
        assert row["similarity"] == (0 if hit else 1), row


@pytest.mark.parametrize("pooled", [False, True])
def test_only_windows_with_a_planted_layer_change_the_questions_words(pooled):
    vlm = build_planted(Plant.through_question(6, 2, 4))
    edges = ["image -> question", "question -> question"]
    rows = words(vlm, prompt_of(vlm, scene()), edges=edges, window=3, top=1, pooled=pooled)
    expected = [1, 0, 0, 0, 1, 1] + [
        1
    ] * 6  # layers 1 to 3 hold layer 2 in their windows; the question tells itself nothing
    assert rows["similarity"].to_list() == expected


@pytest.mark.planted("norms")
@settings(max_examples=10)
@given(at=stages(2), bits=BITS)
def test_only_sinks_matter_where_they_hold_everything(at, bits):
    """Black patches have no norm: above 1 lie just those of the two objects, which so are the sinks."""
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    shown = scene(bits)
    norms = vlm.feature_norms(prompt_of(vlm, shown))
    found = sinks(norms, 1.0)
    assert found == [7, 28]  # the objects' patches, on a grid of six by six
    # The box is wider than the object, so that related patches are left without the sinks.
    prompt = vlm.prompt(shown.image, QUESTION, patches=Patches(36, [7, 8]), sinks=found)
    edges = [
        "sinks -> question",
        "related patches without sinks -> question",
        "other patches without sinks -> question",
    ]
    assert_changes(knockout(vlm, prompt, edges, [1, 3]), {"sinks -> question": {related}}, layers)


@pytest.mark.planted("pruning")
@settings(max_examples=10)
@given(at=stages(2), bits=BITS)
def test_pruning_finds_the_layer_until_which_the_image_is_needed(at, bits):
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    prompt, numbers = prompt_of(vlm, scene(bits)), list(range(layers + 1))
    right = code_word(bits, 0)
    rows = pruning(vlm, prompt, numbers, right, vlm.answer(prompt).token_ids, with_time=False)
    # Without the image, the code is 0 0 by default of the greedy choice: such answers are right by chance.
    blind = answers_without_image(vlm, prompt, [layers])[layers]
    by_chance = vlm.processor.tokenizer.decode(blind) == right
    assert rows["correct"].to_list() == [number < layers - related or by_chance for number in numbers]


@settings(max_examples=10)
@given(at=stages(2), bits=BITS, window=st.sampled_from([1, 3]))
def test_planted_flow_is_found_with_captions_instead_of_the_image(at, bits, window):
    layers, (related, last) = at
    built = build_planted(Plant.through_question(layers, related, last))
    reader = LanguageModel(built.model, built.processor)
    prompt = reader.caption_prompt(caption_word(bits), QUESTION)
    assert reader.answer(prompt).text == code_word(bits, 0)
    edges = ["caption -> last", "question -> last", "caption -> question"]
    planted = {"question -> last": {last}, "caption -> question": {related}}
    assert_changes(knockout(reader, prompt, edges, window), planted, layers)


@settings(max_examples=10)
@given(at=stages(2), bits=BITS, window=st.sampled_from([1, 3]))
def test_only_the_objects_words_take_and_pass_on_the_planted_code(at, bits, window):
    """Only the object's word takes the code from the image, and only it tells the last position."""
    layers, (related, last) = at
    copies = Plant.through_question(layers, related, last).copies
    vlm = build_planted(Plant(copies, layers, words=("picture",)))
    prompt = prompt_of(vlm, scene(bits))
    parts = ("objects", "question without objects")
    edges = [f"{a} -> {b}" for a in ("image", "related patches", "other patches") for b in parts]
    edges += [f"{part} -> last" for part in parts] + ["question without objects -> objects"]
    planted = {"image -> objects": {related}, "related patches -> objects": {related}, "objects -> last": {last}}
    assert_changes(knockout(vlm, prompt, edges, window), planted, layers)


def test_the_atlas_shows_the_planted_edges_and_no_others():
    vlm = build_planted(Plant(Plant.through_question(6, 1, 4).copies, 6, words=("picture",)))
    prompt = prompt_of(vlm, scene())
    edges = [edge for edge in ALL_EDGES if not any(word in edge for word in ("option", "separators", "after image"))]
    rows = knockout(vlm, prompt, edges, [1, 3])
    strong = set(rows.filter(pl.col("change") < -45)["edge"])
    sources, targets = ("image", "related patches"), ("question", "objects")
    assert strong == {f"{a} -> {b}" for a in sources for b in targets} | {"question -> last", "objects -> last"}
    for edge in strong:
        layer = 4 if Edge.parse(edge).target == "last" else 1
        hit = rows.filter((pl.col("edge") == edge) & (pl.col("window") == 1) & (pl.col("change") < -45))["layer"]
        assert hit.to_list() == [layer]
    assert rows.filter(~pl.col("edge").is_in(strong))["change"].abs().max() < 1


@settings(max_examples=8)
@given(at=stages(2), bits=BITS, cut=st.sampled_from(["from", "until", "all but"]))
def test_a_cut_is_felt_exactly_where_it_holds_the_planted_layer(at, bits, cut):
    layers, (related, last) = at
    vlm = build_planted(Plant.through_question(layers, related, last))
    prompt = prompt_of(vlm, scene(bits))
    rows = knockout(vlm, prompt, ["image -> question", "question -> last", "image -> last"], 1, cut=cut)
    at = {"image -> question": related, "question -> last": last, "image -> last": None}
    for row in rows.iter_rows(named=True):
        layer, there = row["layer"], at[row["edge"]]
        holds = there is not None and {"from": there >= layer, "until": there <= layer, "all but": there != layer}[cut]
        assert row["change"] < -45 if holds else abs(row["change"]) < 1, row


@pytest.mark.planted("knockout")
def test_edges_that_stand_in_for_each_other_lose_the_answer_together():
    """The code comes to the last position in two ways; one is enough, and without both it is lost."""
    copies = (Copy("related patches", "question", 1), Copy("question", "last", 3), Copy("image", "last", 4))
    vlm = build_planted(Plant(copies, 6))
    prompt = prompt_of(vlm, scene())
    both = "question -> last + image -> last"
    rows = vlm.knockout(prompt, ["question -> last", "image -> last", both], 3)
    lost = set(rows.filter(rows["change"] < -45).select("edge", "layer").iter_rows())
    assert lost == {(both, layer) for layer in (3, 4)}, "the windows that hold both layers"
    assert rows.filter(rows["change"] >= -45)["change"].abs().max() < 1
