"""The lens on the image's tokens, against the words of each state by itself."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from support.bidirectional import looking_ahead, pali_gemma
from support.rows import hidden
from vlmflow.probes.visual_lens import NAMES_OF_OBJECTS
from vlmflow.probes.visual_lens.measure import Decoder, visual_lens
from vlmflow.tables import Skipped


@pytest.mark.oracle("visual-lens")
def test_the_visual_lens_equals_reading_state_by_state(random_vlm, probe_context, noise_questions):
    found = visual_lens(
        probe_context,
        noise_questions[0],
        top=3,
        instructions=["none", "correct", "wrong"],
        instruction_positions=["after", "before"],
        keep_words=True,
    )
    texts = {"correct": noise_questions[0].text, "wrong": noise_questions[1].text, "none": ""}
    names = {"own": ["circle", "circles", "red", "reds"], "other": ["square", "squares", "blue", "blues"]}
    words = random_vlm.processor.tokenizer.convert_ids_to_tokens(range(random_vlm.unembedding.out_features))
    object_patches, others = {1, 2}, {0, 3, 4, 5, 6, 7, 8}
    image = Image.open(noise_questions[0].image)
    top_words = {}
    for place, (instruction, text) in product(("after", "before"), texts.items()):
        prompt = random_vlm.image_prompt(image, text, before=place == "before")
        states = hidden(random_vlm, prompt)[:, prompt.positions("image")]
        for layer, each in enumerate(states):
            row = found.filter(
                (pl.col("instruction_position") == place)
                & (pl.col("instruction") == instruction)
                & (pl.col("layer") == layer - 1)
            ).row(0, named=True)
            with torch.no_grad():
                probabilities = random_vlm.unembedding(random_vlm.norm(each)).softmax(-1)
            said = [[words[i] for i in token.argsort(descending=True)[:3]] for token in probabilities]
            entropy = np.mean([-sum(p * math.log2(p) for p in token.tolist()) for token in probabilities])
            assert row["entropy"] == pytest.approx(entropy, abs=1e-6)

            def share(tokens, wanted, said=said):
                return 100 * np.mean([bool(set(said[token]) & set(wanted)) for token in tokens])

            assert row["object"] == pytest.approx(share(object_patches, names["own"]))
            assert row["elsewhere"] == pytest.approx(share(others, names["own"]))
            assert row["shuffled"] == pytest.approx(share(object_patches, names["other"]))
            assert row["words"] == pytest.approx(100 * np.mean([s[0].isalpha() and len(s[0]) > 1 for s in said]))
            top_words[place, instruction, layer] = [s[0] for s in said]
            right = top_words.get((place, "correct", layer))
            if right is not None:
                same = np.mean([a == b for a, b in zip(right, top_words[place, instruction, layer], strict=True)])
                assert row["agreement"] == pytest.approx(100 * same)
            assert (row["decoded"] is not None) == (instruction == "correct")
            if row["decoded"] is not None:
                assert row["decoded"] == [s[0] for s in said]


def test_text_after_the_image_cannot_change_its_tokens(random_vlm, probe_context, noise_questions):
    """In a causal decoder the instruction after the image plays no part by construction; before it, it does."""
    found = visual_lens(
        probe_context,
        noise_questions[0],
        top=3,
        instructions=["correct", "wrong", "none"],
        instruction_positions=["after", "before"],
        keep_words=False,
    )
    columns = ["layer", "object", "entropy", "words", "agreement"]
    after, before = (
        [
            found.filter((pl.col("instruction_position") == place) & (pl.col("instruction") == instruction)).select(
                columns
            )
            for instruction in ("correct", "wrong", "none")
        ]
        for place in ("after", "before")
    )
    assert after[0].equals(after[1])
    assert after[0].equals(after[2])
    assert not before[0].equals(before[1])
    assert not before[0].equals(before[2])
    assert found["decoded"].null_count() == len(found)


def test_the_same_states_are_read_once(random_vlm, probe_context, noise_questions, monkeypatch):
    read, vlm_read = [], random_vlm.read
    monkeypatch.setattr(random_vlm, "read", lambda *given, **how: read.append(how) or vlm_read(*given, **how))
    settings_ = {"top": 2, "keep_words": False}
    visual_lens(
        probe_context,
        noise_questions[0],
        instructions=["correct", "wrong", "none"],
        instruction_positions=["after"],
        **settings_,
    )
    assert len(read) == 4  # layers and embedding
    visual_lens(
        probe_context,
        noise_questions[0],
        instructions=["correct", "wrong", "none"],
        instruction_positions=["before"],
        **settings_,
    )
    assert read == (4 + 3 * 4) * [{"in_float32": True}]  # in float32, as the lens of words is


def test_image_tokens_that_attend_to_later_text_are_read_again():
    """In PaliGemma the whole prompt sees itself, so that another question makes other states of the same image."""
    vlm, prompt = looking_ahead(pali_gemma)
    other = replace(prompt, inputs=prompt.inputs | {"input_ids": prompt.inputs["input_ids"].clone()})
    other.inputs["input_ids"][0, 11] = 20
    known = Decoder(vlm, 2)
    first, second = known.decode(prompt), known.decode(other)
    assert torch.equal(vlm.record(prompt).calls[0].hidden[:, :10], vlm.record(other).calls[0].hidden[:, :10])
    assert not torch.equal(first.entropy[1:], second.entropy[1:])
    assert known.decode(other).entropy.equal(second.entropy)


def test_an_object_without_a_box_costs_only_its_names(probe_context, noise_questions):
    absent = replace(noise_questions[0].objects[0], box=None)
    found = visual_lens(
        probe_context,
        replace(noise_questions[0], objects=(absent,)),
        top=2,
        instructions=["correct"],
        instruction_positions=["after"],
        keep_words=False,
    )
    assert found["object"].null_count() == len(found)
    assert found["entropy"].null_count() == 0
    assert probe_context.skipped == [Skipped("0", NAMES_OF_OBJECTS, "none of the question's objects has a box")]
