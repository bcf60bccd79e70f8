"""The measures of an intervention's effect, against a plain computation from full forwards."""

import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from support.noise import noise_image
from support.paths import random_llava
from support.planted import scene
from support.questions import make_question
from vlmflow.calibration.planted import QUESTION, Copy, Plant, build_planted, code_word
from vlmflow.edges import Edge, window_layers
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.errors import InterventionError, NotApplicableError
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.effects import all_sub_words, followed_tokens, option_tokens, options_of, written_by
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.measures import MEASURES, effect_columns

EDGES = ["question -> last", "image -> question", "image -> last"]


def prompt_of(vlm):
    image = noise_image(12)
    return vlm.prompt(image, "what color is the circle , red or blue ?", options=("red", "blue"))


def tokens_of(vlm, *words):
    return [vlm.processor.tokenizer(word, add_special_tokens=False).input_ids[0] for word in words]


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_every_measure_by_the_plain_method(seed):
    vlm = random_llava(3, 3, seed=seed)
    prompt = prompt_of(vlm)
    true, false = tokens_of(vlm, "red", "blue")
    intact = vlm.model(**prompt.inputs).logits[0, -1].log_softmax(-1)
    answer = int(intact.argmax())
    # Options are written as the answer is; with a capital, this tokenizer knows neither of them.
    assume(not vlm.processor.tokenizer.decode([answer])[:1].isupper())
    for row in knockout(vlm, prompt, EDGES, [1, 3]).iter_rows(named=True):
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], row["window"], 3)
        blocked = AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), span.start, span.stop)
        after = vlm.logits(plain(vlm.model, vlm.layers, prompt.inputs, [blocked])[0, -1]).log_softmax(-1)
        for word, token in (("answer", answer), ("true", true), ("false", false)):
            for read, end in ((intact, "_base"), (after, "")):
                assert row[f"log_prob_{word}{end}"] == pytest.approx(read[token].item(), rel=1e-9, abs=1e-12)
                order = read.argsort(descending=True).tolist()
                assert row[f"rank_{word}{end}"] == order.index(token) + 1
        margin = (after[true] - after[false]) - (intact[true] - intact[false])
        assert row["margin"] == pytest.approx(margin.item(), rel=1e-9, abs=1e-12)
        assert row["log_prob"] == pytest.approx((after - intact)[answer].item(), rel=1e-9, abs=1e-12)
        assert row["change"] == pytest.approx(100 * (math.exp(row["log_prob"]) - 1), rel=1e-6, abs=1e-9)
        assert row["flips"] == 100.0 * (int(after.argmax()) != answer)
        assert row["token"] == vlm.processor.tokenizer.decode([int(after.argmax())]).strip()
        assert (row["p_true"], row["p_false"]) == pytest.approx((after[true].exp().item(), after[false].exp().item()))


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), answer=st.lists(st.integers(5, 20), min_size=1, max_size=4))
def test_sub_words_that_are_measured_together_have_their_joint_probability(seed, answer):
    vlm = random_llava(3, 3, seed=seed)
    prompt = prompt_of(vlm)
    followed = all_sub_words(vlm, prompt, answer, tuple(tokens_of(vlm, "red", "blue")))
    rows = knockout(vlm, prompt, [*EDGES, "question -> template"], 1, followed)
    ids = torch.cat([prompt.inputs["input_ids"], torch.tensor([answer[:-1]], dtype=torch.long)], dim=1)
    inputs = prompt.inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    predicting = torch.arange(len(prompt) - 1, ids.shape[1])
    intact = vlm.model(**inputs).logits[0, predicting].log_softmax(-1)
    own = torch.arange(len(answer))
    for row in rows.iter_rows(named=True):
        edge = Edge.parse(row["edge"])
        target = predicting if edge.target == "last" else prompt.positions(edge.target)
        blocked = AttentionKnockout(prompt.positions(edge.source), target, row["layer"], row["layer"] + 1)
        after = vlm.logits(plain(vlm.model, vlm.layers, inputs, [blocked], predicting)[0]).log_softmax(-1)
        assert row["log_prob_answer"] == pytest.approx(after[own, answer].sum().item(), rel=1e-9)
        assert row["p_base"] == pytest.approx(intact[own, answer].sum().exp().item(), rel=1e-9)
        assert row["flips"] == 100.0 * bool((after.argmax(-1) != intact.argmax(-1)).any())
        # Options are read where the first sub-word is predicted.
        assert row["log_prob_true"] == pytest.approx(after[0, tokens_of(vlm, "red")[0]].item(), rel=1e-9)
        assert row["rank_answer"] == max(
            int((one > one[token]).sum()) + 1 for one, token in zip(after, answer, strict=True)
        )


def test_any_answer_can_be_followed_from_a_notebook():
    vlm = random_llava(3, 3, seed=5)
    prompt = prompt_of(vlm)
    rows = vlm.knockout(prompt, EDGES, 1, answer="blue")
    expected = knockout(vlm, prompt, EDGES, 1, all_sub_words(vlm, prompt, tokens_of(vlm, "blue")))
    assert rows["log_prob_answer"].equals(expected["log_prob_answer"])
    assert rows["log_prob_answer"].equals(rows["log_prob_false"]), "it is the false option"
    assert rows.columns[:6] == ["edge", "window", "layer", "p_base", "p_knockout", "change"]
    assert rows.columns[3:] == list(effect_columns("p_knockout"))
    without = vlm.prompt(Image.new("RGB", (12, 12)), "what color is the circle ?")
    assert vlm.knockout(without, EDGES, 1)["margin"].null_count() == 9
    with pytest.raises(InterventionError, match="the answer is empty"):
        knockout(vlm, prompt, EDGES, 1, all_sub_words(vlm, prompt, []))


@pytest.mark.planted("knockout")
def test_on_a_sure_model_the_margin_moves_where_the_change_is_flat():
    """The answer reaches the last position in two ways.  Without either of them the model is still sure, so that its
    probability does not move; its margin does, in the planted layers alone."""
    copies = (Copy("related patches", "question", 1), Copy("question", "last", 3), Copy("image", "last", 4))
    vlm = build_planted(Plant(copies, 6))
    planted = scene()
    options = (code_word(planted.related_bits, 0), code_word((1 - planted.related_bits[0], planted.related_bits[1]), 0))
    prompt = vlm.prompt(planted.image, QUESTION, objects={"picture": [planted.related]}, options=options)
    assert vlm.answer(prompt).text.split()[0] == options[0]
    rows = vlm.knockout(prompt, ["question -> last", "image -> last", "image -> question"], 1)
    moved = set(rows.filter(pl.col("margin") < -1).select("edge", "layer").iter_rows())
    assert moved == {("question -> last", 3), ("image -> last", 4), ("image -> question", 1)}
    assert rows.filter(~(pl.col("margin") < -1))["margin"].abs().max() < 0.05
    assert rows["change"].abs().max() < 0.1, "percent"
    assert rows["p_base"].min() > 0.999
    assert rows["flips"].max() == 0


# --- which answer, and which options ---


@pytest.mark.parametrize(
    ("own", "text", "expected"),
    [("Red", "blue", "Blue"), ("red", "blue", "blue"), ("red", "Red", "red"), ("", "blue", "blue")],
)
def test_an_answer_is_written_as_the_model_writes_its_own(tiny_llava, own, text, expected):
    ids = tiny_llava.processor.tokenizer(own, add_special_tokens=False).input_ids
    assert tiny_llava.processor.tokenizer.decode(written_by(tiny_llava, text, ids)).strip() == expected


def test_options_are_those_of_the_question_or_yes_and_no():
    def question(answer, options=None):
        return replace(make_question(id="q", image_id="i", text="t", image="x"), correct_answer=answer, options=options)

    assert options_of(question("red", ("red", "blue"))) == ("red", "blue")
    assert options_of(question("yes")) == ("yes", "no")
    assert options_of(question("no")) == ("no", "yes")
    assert options_of(question("red")) is None
    assert options_of(question(None)) is None


def test_the_followed_answer_is_the_models_own_or_another():
    vlm = random_llava(2)
    red, blue = tokens_of(vlm, "red", "blue")
    question = replace(
        make_question(id="q", image_id="i", text="t", image="x", token_ids=[blue]),
        correct_answer="red",
        options=("red", "blue"),
    )
    assert followed_tokens(vlm, question, "own") == [blue]
    assert followed_tokens(vlm, question, "correct") == [red]
    assert followed_tokens(vlm, question, "false option") == [blue]
    with pytest.raises(NotApplicableError, match="no false option"):
        followed_tokens(vlm, replace(question, options=None), "false option")
    assert option_tokens(vlm, ("red", "red"), [red]) is None
    assert option_tokens(vlm, ("red", " "), [red]) is None


def test_options_that_begin_alike_have_no_margin_and_a_reason(tmp_path):
    vlm = random_llava(2)
    Image.new("RGB", (12, 12)).save(tmp_path / "i.png")
    (token,) = tokens_of(vlm, "red")
    question = replace(
        make_question(
            id="q", image_id="i", text="what color is the circle ?", image=str(tmp_path / "i.png"), token_ids=[token]
        ),
        options=("red circle", "red square"),
    )
    context = ProbeContext(vlm)
    probe = KnockoutProbe(kind="knockout", window=1, edges=EDGES)
    rows = probe.measure(context, question)
    assert rows["margin"].null_count() == len(rows)
    (left,) = context.skipped
    assert (left.what, left.reason) == (
        "part of margin", "both options, 'red circle' and 'red square', begin with the same sub-word, or with none"
    )  # fmt: skip
    wanted = probe.model_copy(update={"token": "all", "follow": "false option"})
    found = wanted.measure(ProbeContext(vlm), question)
    assert set(found["sub_words"]) == {2}
    assert set(probe.averaging.values(rows)["quantity"]) == set(MEASURES) - {"margin"}
