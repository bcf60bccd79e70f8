"""Answers without the image in the last layers: by the engine, by really dropping the tokens, and what that saves."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from support.decoders import DECODERS, random_decoder
from support.noise import noise_image
from support.paths import random_llava
from support.questions import make_question
from support.random_prompts import QUESTION, talking_llava
from support.random_prompts import prompt_with_segments as prompt_of
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.engine.timing import timed
from vlmflow.engine.token_removal import truncated, work_share
from vlmflow.probes import PruningProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.pruning.measure import answers_without_image, pruning


@pytest.mark.parametrize("name", DECODERS)
def test_dropping_tokens_equals_blocking_them_in_other_architectures(name):
    """Whatever layers are called with: sliding windows, no rotary phases, capped scores."""
    model = random_decoder(name)
    layers, dropped = model.get_decoder().layers, torch.arange(2, 8)
    ids = torch.randint(0, 50, (1, 14), generator=torch.Generator().manual_seed(1))
    logits = []
    with truncated(layers, dropped, 2), torch.inference_mode():
        step = model(input_ids=ids, past_key_values=DynamicCache(), use_cache=True)
        for _ in range(3):
            logits.append(step.logits[0, -1])
            ids = torch.cat([ids, logits[-1].argmax()[None, None]], dim=1)
            step = model(input_ids=ids[:, -1:], past_key_values=step.past_key_values, use_cache=True)
    later = torch.arange(8, 16)
    blocked = AttentionKnockout(dropped, later, 2, 4)
    states = plain(model, layers, {"input_ids": ids[:, :16]}, [blocked], torch.arange(13, 16))[0]
    expected = model.lm_head(model.model.norm(states))
    if cap := getattr(model.config, "final_logit_softcapping", None):
        expected = cap * torch.tanh(expected / cap)
    tolerance = 1e-4 if "capped" in name else 1e-9  # eager: softmax in float32
    torch.testing.assert_close(torch.stack(logits), expected, rtol=tolerance, atol=tolerance / 1000)


@pytest.mark.parametrize(("attention", "tolerance"), [("sdpa", 1e-9), ("eager", 1e-4)])  # eager: softmax in float32
@pytest.mark.parametrize("last", range(5))
def test_dropping_tokens_equals_blocking_them(last, attention, tolerance):
    """Logits of the whole answer: really pruned, and blocked for every later position."""
    vlm = random_llava(5, 3, seed=last)
    vlm.model.set_attn_implementation(attention)
    prompt = prompt_of(vlm, 3)
    image = prompt.positions("image")
    logits, tokens = [], []
    # Not by `generate`, which rounds logits to float32.
    with truncated(vlm.layers, image, last), torch.inference_mode():
        step = vlm.model(**prompt.inputs, use_cache=True)
        for _ in range(4):
            logits.append(step.logits[0, -1])
            tokens.append(5 + int(logits[-1][5:].argmax()))  # no special token
            step = vlm.model(input_ids=torch.tensor([tokens[-1:]]), past_key_values=step.past_key_values)
    longer = vlm.continue_prompt(prompt, tokens)
    recording = vlm.record(longer)
    read = torch.arange(len(prompt) - 1, len(longer) - 1)
    later = torch.arange(int(image[0]) + 1, len(longer))
    blocked = AttentionKnockout(image, later[~torch.isin(later, image)], 5 - last, 5)
    states = vlm.replay(recording, [blocked], read)[0] if last else recording.output[0, read]
    torch.testing.assert_close(vlm.logits(states), torch.stack(logits), rtol=tolerance, atol=tolerance / 1000)
    assert not any(layer._forward_pre_hooks for layer in vlm.layers)


@pytest.mark.oracle("pruning")
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_answers_without_the_image_equal_full_forwards_with_it_blocked(seed):
    """The engine's greedy answers are those of full forwards, token by token, and of a really pruned model."""
    vlm = talking_llava(4, 3, seed=seed)
    prompt = prompt_of(vlm, 3)
    image, last = prompt.positions("image"), [0, 1, 2, 3, 4]
    intact = vlm.answer(prompt).token_ids
    found = answers_without_image(vlm, prompt, last, intact)
    assert answers_without_image(vlm, prompt, last) == found, "whatever is proposed"
    assert found[0] == vlm.answer(prompt).token_ids
    for number in last:
        said = []
        while len(said) < 16:
            longer = vlm.continue_prompt(prompt, said)
            later = torch.arange(int(image[0]) + 1, len(longer))
            blocked = AttentionKnockout(image, later[~torch.isin(later, image)], 4 - number, 4)
            if number:
                token = int(vlm.logits(plain(vlm.model, vlm.layers, longer.inputs, [blocked])[0, 0]).argmax())
            else:
                token = int(vlm.model(**longer.inputs).logits[0, -1].argmax())
            said.append(token)
            if token in vlm.ends:
                break
        assert found[number] == [token for token in said if token not in vlm.ends]
        if number < 4:
            with truncated(vlm.layers, image, number):
                assert vlm.answer(prompt).token_ids == found[number]


def test_rows_of_pruning_hold_answer_and_time(tmp_path):
    vlm = talking_llava(4, 3)
    image = noise_image(12)
    prompt = prompt_of(vlm, 3, image)
    answer = vlm.answer(prompt)
    right, said = answer.text.lower(), answer.token_ids
    rows = pruning(vlm, prompt, [0, 2, 4], right, said, with_time=True)
    assert rows["correct"][0]
    share = 9 / len(prompt)
    assert rows["work_share"].to_list() == pytest.approx([1, 1 - share / 2, 1 - share])
    assert rows["time_share"][0] == 1
    assert 0.05 < rows["time_share"][1] < 20
    assert rows["time_share"][2] is None, "without the image in all layers there is nothing to time"
    assert pruning(vlm, prompt, [0], right, said, with_time=False)["time_share"].to_list() == [None]
    relaxed = pruning(vlm, prompt, [0], f'"{right}."', said, with_time=False, match="relaxed")
    assert relaxed["correct"].to_list() == [True]
    assert pruning(vlm, prompt, [0], f'"{right}."', said, with_time=False)["correct"].to_list() == [False]
    assert work_share(100, 50, 10, 0) == 1
    described = pruning(vlm, prompt, [0, 2], None, said, with_time=False)
    assert described["predicted"].to_list() == rows["predicted"].to_list()[:2]
    assert described.schema["correct"] == pl.Boolean
    assert described["correct"].to_list() == [None, None], "there is no correct answer"
    probe = PruningProbe(kind="pruning", layers_dropped=[0, 2])
    path = tmp_path / "image.png"
    image.save(path)
    strict, relaxed = (ProbeContext(vlm, match=match) for match in ("strict", "relaxed"))
    asked = make_question(id="1", image_id="1", image=str(path), text=QUESTION, correct_answer=None, token_ids=said)
    assert probe.measure(strict, asked).equals(described)
    assert probe.measure(strict, replace(asked, correct_answer=right))["correct"][0]
    assert not probe.measure(strict, replace(asked, correct_answer=f"{right}."))["correct"][0]
    assert probe.measure(relaxed, replace(asked, correct_answer=f"{right}."))["correct"][0]


def test_more_dropped_layers_than_the_model_has_are_refused():
    vlm = random_llava(3)
    with pytest.raises(ValueError, match="the last 0 to 2 of 3 layers"), truncated(vlm.layers, torch.tensor([1]), 3):
        pass


def test_runs_take_turns_and_the_fastest_counts(monkeypatch):
    order, clock = [], [0.0]
    takes = iter([5.0, 3.0, 4.0, 1.0, 6.0, 2.0])

    def run(name):
        order.append(name)
        clock[0] += next(takes)

    monkeypatch.setattr("vlmflow.engine.timing.time.perf_counter", lambda: clock[0])
    assert timed([lambda: run("a"), lambda: run("b")], 3, torch.device("cpu")) == [4.0, 1.0]
    assert order == ["a", "b"] * 3
