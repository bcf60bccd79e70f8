"""Knockouts along edges, against a full forward per window in which the edge is blocked."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support import compared_families
from support.families.all import FAMILIES
from support.paths import random_llava
from support.questions import make_question
from support.random_prompts import FOUR_EDGES
from support.random_prompts import prompt_with_segments as prompt_of
from vlmflow.edges import ALL_EDGES, Edge, window_layers
from vlmflow.engine.interventions import AttentionKnockout, Together
from vlmflow.engine.plain import plain
from vlmflow.errors import NotApplicableError
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.effects import last_sub_word
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.run import ProbeRun
from vlmflow.settings import WindowShare, window_size


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
    rows = knockout(vlm, prompt, FOUR_EDGES, windows)
    assert len(rows) == len(FOUR_EDGES) * len(windows) * layers
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
def test_the_last_sub_word_is_measured_given_the_earlier_ones(seed, answer):
    vlm = random_llava(3, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    rows = knockout(vlm, prompt, FOUR_EDGES, 3, last_sub_word(vlm, prompt, answer))
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


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), answer=st.lists(st.integers(5, 20), min_size=2, max_size=4))
def test_as_published_an_edge_is_blocked_to_every_position_that_predicts_a_sub_word(seed, answer):
    vlm = random_llava(3, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    rows = knockout(vlm, prompt, FOUR_EDGES, 3, last_sub_word(vlm, prompt, answer), every_sub_word=True)
    inputs = vlm.continue_prompt(prompt, answer[:-1]).inputs
    length = inputs["input_ids"].shape[1]
    for row in rows.iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], 3, 3)
        said = torch.arange(length - len(answer), length)
        target = said if edge.target == "last" else prompt.positions(edge.target)
        blocked = AttentionKnockout(prompt.positions(edge.source), target, span.start, span.stop)
        (expected,) = probability(vlm, inputs, answer[-1], [blocked])
        assert row["p_knockout"] == pytest.approx(expected, rel=1e-9)
    alone = knockout(vlm, prompt, FOUR_EDGES, 3, last_sub_word(vlm, prompt, answer))
    differing = rows.filter(rows["p_knockout"] != alone["p_knockout"])
    assert set(differing["edge"]) <= {edge for edge in FOUR_EDGES if edge.endswith("last")}
    assert len(differing)


def test_an_answer_of_one_sub_word_is_left_out_where_several_are_asked_for():
    vlm = random_llava(3, 3)
    probe = KnockoutProbe(kind="knockout", window=3, edges=["question -> last"], token="last", sub_words="several")
    run = ProbeRun(vlm, probe, "p")
    question = make_question(id="q", image_id="i", text="what color is the circle ?", image="x", token_ids=[7])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlmflow.probes.context.open_image", lambda _: Image.new("RGB", (12, 12)))
        with pytest.raises(NotApplicableError, match="its answer has one sub-word"):
            run.measure(question)
        assert set(run.measure(replace(question, token_ids=[7, 8]))["sub_words"]) == {2}


@pytest.mark.parametrize(
    ("share", "layers", "window"), [(0.22, 40, 9), (0.22, 32, 7), (0.22, 10, 3), (0.01, 5, 1), (1, 4, 5)]
)
def test_a_share_of_the_depth_is_the_nearest_odd_number_of_layers(share, layers, window):
    assert window_size(WindowShare(share=share), layers) == window
    assert window_size(9, layers) == 9


def test_a_probe_with_a_share_measures_the_window_of_its_model():
    question = make_question(id="q", image_id="i", text="what color is the circle ?", image="x", token_ids=[7])
    for layers, size in ((3, 1), (10, 3)):
        vlm = random_llava(layers, 3)
        probe = KnockoutProbe(kind="knockout", window={"share": 0.3}, edges=["question -> last"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vlmflow.probes.context.open_image", lambda _: Image.new("RGB", (12, 12)))
            prompt = vlm.prompt(Image.new("RGB", (12, 12)), question.text)
            said = replace(question, token_ids=vlm.answer(prompt).token_ids)
            rows = ProbeRun(vlm, probe, "p").measure(said)
        assert set(rows["window"]) == {size}
        expected = knockout(vlm, prompt, ["question -> last"], size)
        assert rows["change"].to_list() == expected["change"].to_list()


def test_an_answer_of_one_sub_word_changes_nothing():
    vlm = random_llava(4, 3)
    prompt = prompt_of(vlm, 3)
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    columns = ["edge", "window", "layer", "p_base", "p_knockout", "change", "log_prob", "flips", "token"]
    last = knockout(vlm, prompt, FOUR_EDGES, 3, last_sub_word(vlm, prompt, [token]))
    assert last.select(columns).equals(knockout(vlm, prompt, FOUR_EDGES, 3).select(columns))
    assert set(last["margin"]) == {None}, "options have no meaning after the first sub-word"


def test_the_answers_earlier_sub_words_are_template():
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


@pytest.mark.parametrize(("family", "without"), [(None, {"image separators", "after image"}), ("Idefics3", set())])
def test_every_edge_of_the_atlas_equals_the_plain_method(family, without, tmp_path):
    """Also of a family with tokens between those of the image."""
    vlm = random_llava(3, 3, seed=1) if family is None else compared_families.loaded(FAMILIES[family], tmp_path)
    prompt = prompt_of(vlm, 3) if family is None else compared_families.prompt_of(vlm)
    edges = [text for text in ALL_EDGES if not {Edge.parse(text).source, Edge.parse(text).target} & without]
    rows = knockout(vlm, prompt, edges, [1, 3])
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    knockouts = []
    for row in rows.iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], row["window"], len(vlm.layers))
        knockouts.append(
            AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), span.start, span.stop)
        )
    assert rows["p_knockout"].to_list() == pytest.approx(probability(vlm, prompt.inputs, token, knockouts), rel=1e-9)


def test_all_edges_are_valid_and_without_sinks_and_captions():
    assert len(set(ALL_EDGES)) == len(ALL_EDGES) == 71
    for text in ALL_EDGES:
        Edge.parse(text)
    assert "template -> last" in ALL_EDGES
    assert "image -> template" in ALL_EDGES
    assert not any("sinks" in text or "caption" in text for text in ALL_EDGES)


CUTS = {
    "around": lambda layer, other, reach: abs(other - layer) <= reach,
    "from": lambda layer, other, reach: other >= layer,
    "until": lambda layer, other, reach: other <= layer,
    "all but": lambda layer, other, reach: abs(other - layer) > reach,
}


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 5),
    window=st.sampled_from([1, 3]),
    cut=st.sampled_from(list(CUTS)),
    together=st.booleans(),
)
def test_edges_are_cut_together_in_the_layers_that_a_cut_determines(seed, layers, window, cut, together):
    """Against a plain method of its own: the mask is changed in each layer by itself."""
    vlm = random_llava(layers, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    edges = ["image -> question + question -> last"] if together else ["image -> question", "question -> last"]
    if cut == "all but" and layers <= 1 + (window > 1):
        with pytest.raises(NotApplicableError, match="no layer with attention is left"):
            knockout(vlm, prompt, edges, window, cut=cut)
        return
    rows = knockout(vlm, prompt, edges, window, cut=cut)
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    expected = []
    for text in edges:
        for layer in range(layers):
            inside = [other for other in range(layers) if CUTS[cut](layer, other, window // 2)]
            parts = [
                AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), other, other + 1)
                for edge in map(Edge.parse, text.split(" + "))
                for other in inside
            ]
            if parts:
                (p,) = probability(vlm, prompt.inputs, token, [Together(parts)])
                expected.append((text, layer, pytest.approx(p, rel=1e-9)))
    assert rows.select("edge", "layer", "p_knockout").rows() == expected


def test_a_group_of_edges_applies_if_all_of_its_edges_do(tmp_path):
    vlm = random_llava(2, 3)
    Image.new("RGB", (12, 12)).save(tmp_path / "i.png")
    question = make_question(
        id="q", image_id="i", text="what color is the circle ?", image=str(tmp_path / "i.png"), token_ids=[7]
    )
    both = "image -> last + options -> last"
    probe = KnockoutProbe(kind="knockout", window=1, edges=["image -> last", both])
    run = ProbeRun(vlm, probe, "p")
    assert set(run.measure(question)["edge"]) == {"image -> last"}
    assert [(each.what, "options" in each.reason) for each in run.skipped] == [(both, True)]
    assert probe.values_measured("edge") == ["image -> last", both]
    assert len(probe.parsed_edges) == 2


@pytest.mark.parametrize("cut", list(CUTS))
def test_a_job_reads_the_probe_that_the_study_has(cut):
    probe = KnockoutProbe(kind="knockout", edges=["image -> last + question -> last"], cut=cut)
    assert KnockoutProbe.model_validate(probe.model_dump(mode="json")) == probe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": ["image -> last + image -> last"]}, "an edge is there twice"),
        ({"edges": ["image -> last + last -> image"]}, "comes after"),
        ({"edges": ["image -> last"], "cut": "from", "window": 3}, "cut: from has no window"),
    ],
)
def test_cuts_that_have_no_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        KnockoutProbe(kind="knockout", **changes)
