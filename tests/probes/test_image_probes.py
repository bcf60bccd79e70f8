"""Probes of how image and words meet, each against a direct, slow way to the same numbers."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.bidirectional import looking_ahead, pali_gemma
from support.decoders import DECODERS, random_decoder
from support.rows import hidden, shown
from support.tiny_models import build_processor
from vlmflow.engine.attention_stats import attention_stats
from vlmflow.engine.modules import find_layers
from vlmflow.engine.prefix import can_share
from vlmflow.errors import NotApplicableError, OutOfMemoryError, PromptError, QuestionError, RetryableQuestionError
from vlmflow.models.vocabulary import Vocabulary, words_of
from vlmflow.probes import AttentionMapProbe, SimilarityProbe
from vlmflow.probes.attention.measure import attention
from vlmflow.probes.attention_map.measure import attention_map
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.similarity import PAIRS
from vlmflow.probes.similarity.measure import Directions, similarity
from vlmflow.probes.visual_lens import NAMES_OF_OBJECTS
from vlmflow.probes.visual_lens.measure import Decoder, visual_lens
from vlmflow.tables import Skipped


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def pair_by_pair(states, image, text, ids):
    """(3, layers + 1): every pair of different positions, one after the other; of text, of different words."""
    found = []
    for layer in states:
        across = [cosine(layer[i], layer[j]) for i in image for j in text]
        images = [cosine(layer[i], layer[j]) for i in image for j in image if i != j]
        words = [cosine(layer[i], layer[j]) for i in text for j in text if ids[i] != ids[j]]
        found.append([np.mean(across), np.mean(images), np.mean(words)])
    return np.array(found).T


def unrelated_pair_by_pair(mine, other):
    """(3, layers + 1): of two (states, image positions, text positions, token ids), without pairs of the same word."""
    found = []
    for here, there in zip(mine[0], other[0], strict=True):
        (image, text, ids), (their_image, their_text, their_ids) = mine[1:], other[1:]
        between = [cosine(here[i], there[j]) for i in image for j in their_text]
        back = [cosine(there[i], here[j]) for i in their_image for j in text]
        images = [cosine(here[i], there[j]) for i in image for j in their_image]
        words = [cosine(here[i], there[j]) for i in text for j in their_text if ids[i] != their_ids[j]]
        found.append([(np.mean(between) + np.mean(back)) / 2, np.mean(images), np.mean(words)])
    return np.array(found).T


@pytest.mark.oracle("similarity")
def test_similarity_equals_the_pairs(random_vlm, probe_context, noise_questions):
    measured = similarity(probe_context, noise_questions[0], {"own": "{question}", "other": "is the {object} red ?"}, 2)
    for name, text in (("own", "{question}"), ("other", "is the {object} red ?")):
        sides = []
        # The unrelated ones of the first question are the next two about other images, in the same words.
        for row in noise_questions[:3]:
            prompt = shown(random_vlm, row, text.format(question=row.text, object=row.objects[0].name))
            ids = prompt.inputs["input_ids"][0].tolist()
            sides.append(
                (
                    hidden(random_vlm, prompt),
                    prompt.positions("image").tolist(),
                    prompt.positions("question").tolist(),
                    ids,
                )
            )
        raw = pair_by_pair(*sides[0])
        others = np.mean([unrelated_pair_by_pair(sides[0], other) for other in sides[1:]], axis=0)
        for place, pair in enumerate(PAIRS):
            found = measured.filter((pl.col("prompt") == name) & (pl.col("pair") == pair)).sort("layer")
            assert found["layer"].to_list() == [-1, 0, 1, 2]
            np.testing.assert_allclose(found["raw"], raw[place], atol=1e-9)
            np.testing.assert_allclose(found["unrelated"], others[place], atol=1e-9)
            np.testing.assert_allclose(found["corrected"], raw[place] - others[place], atol=1e-9)


@settings(max_examples=40)
@given(
    image=st.integers(2, 5),
    text=st.integers(2, 5),
    theirs=st.integers(2, 5),
    seed=st.integers(0, 10**6),
    same=st.booleans(),
)
def test_sums_equal_pairs(image, text, theirs, seed, same):
    rng = torch.Generator().manual_seed(seed)

    def side(words):
        states = torch.randn(2, image + words, 4, generator=rng, dtype=torch.float64)
        ids = torch.randint(0, 3, (image + words,), generator=rng)
        if same:
            ids[:] = 1
        units = torch.nn.functional.normalize(states, dim=-1)
        made = Directions(units[:, :image].sum(1), image, units[:, image:], ids[image:])
        return made, (states, list(range(image)), list(range(image, image + words)), ids.tolist())

    (mine, raw), (other, their_raw) = side(text), side(theirs)
    ids, their_ids = raw[3][image:], their_raw[3][image:]
    if len(set(ids)) > 1:
        np.testing.assert_allclose(mine.within(), pair_by_pair(*raw), atol=1e-12)
    else:
        assert mine.within()[2].isnan().all()
    across = mine.across(other)
    if all(i == j for i, j in product(ids, their_ids)):
        assert across[2].isnan().all()
        return
    np.testing.assert_allclose(across, unrelated_pair_by_pair(raw, their_raw), atol=1e-12)
    np.testing.assert_allclose(across, other.across(mine), atol=1e-12)


def test_similarity_leaves_out_what_cannot_be_asked(probe_context, noise_questions):
    row = replace(noise_questions[0], objects=())
    found = similarity(probe_context, row, {"own": "{question}", "yes-no": "is the {object} red ?"}, 1)
    assert set(found["prompt"]) == {"own"}
    assert probe_context.skipped == [
        Skipped(
            "0", "prompt yes-no", "the question has no object that could replace {object} in 'is the {object} red ?'"
        )
    ]
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(probe_context, row, {"one": "?"}, 1)
    assert "single token" in probe_context.skipped[-1].reason
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(probe_context, row, {"twice": "red red red"}, 1)
    assert "the text is one word" in probe_context.skipped[-1].reason
    alone = ProbeContext(probe_context.vlm, questions=noise_questions[2:])
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(alone, noise_questions[2], {"own": "{question}"}, 1)
    assert "no question on another image" in alone.skipped[-1].reason


def test_a_prompt_that_cannot_be_compared_does_not_take_the_others_with_it(random_vlm, noise_questions):
    bare = [noise_questions[0], *(replace(row, objects=()) for row in noise_questions[1:])]
    compared = ProbeContext(random_vlm, questions=bare)
    found = similarity(compared, bare[0], {"own": "{question}", "yes-no": "is the {object} red ?"}, 1)
    assert set(found["prompt"]) == {"own"}
    assert len(compared.skipped) == 1


def test_neighbours_are_not_asked_twice(random_vlm, noise_questions, monkeypatch):
    asked = []
    record = random_vlm.record
    monkeypatch.setattr(random_vlm, "record", lambda prompt: asked.append(prompt) or record(prompt))
    context = ProbeContext(random_vlm, questions=noise_questions, cache_size=4)
    for row in noise_questions:
        similarity(context, row, {"own": "{question}"}, 2)
    assert len(asked) == len(noise_questions)
    small = ProbeContext(random_vlm, questions=noise_questions, cache_size=1)
    one = similarity(small, noise_questions[0], {"own": "{question}"}, 2)
    assert one.equals(similarity(context, noise_questions[0], {"own": "{question}"}, 2))
    assert len(small.cache) == 1


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


def test_looks_equal_the_pairs(random_vlm, noise_questions):
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
def test_looks_of_other_architectures(name):
    model = random_decoder(name)
    layers = find_layers(model)
    inputs = {"input_ids": torch.randint(0, 50, (1, 14), generator=torch.Generator().manual_seed(1))}
    targets = {"some": torch.tensor([9, 12]), "last": torch.tensor([13])}
    if not can_share(model.model):
        with pytest.raises(NotApplicableError, match="does not allow its attention function to be replaced"):
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


def test_memory_is_cut_without_changing_the_result(random_vlm, noise_questions, monkeypatch):
    prompt = shown(random_vlm, noise_questions[0])
    whole = random_vlm.attention_stats(prompt, ["image", "last"])
    monkeypatch.setattr("vlmflow.engine.attention_stats.QUERIES", 2)
    monkeypatch.setattr("vlmflow.engine.attention_stats.KEYS", 3)
    cut = random_vlm.attention_stats(prompt, ["image", "last"])
    for segment, look in whole.items():
        torch.testing.assert_close(cut[segment].norms, look.norms, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(cut[segment].weights, look.weights, rtol=1e-12, atol=1e-12)


@pytest.mark.oracle("attention")
def test_edges_add_up_what_is_looked_at(random_vlm, noise_questions):
    prompt = shown(random_vlm, noise_questions[0])
    found = attention(random_vlm, prompt, ["image -> last", "question -> last", "image -> question"])
    look = random_vlm.attention_stats(prompt, ["last"])["last"]
    image = found.filter(pl.col("edge") == "image -> last")
    positions = prompt.positions("image")
    np.testing.assert_allclose(image["weight"], 100 * look.weights[:, positions].sum(1))
    np.testing.assert_allclose(image["norm"], look.norms[:, positions].sum(1))
    np.testing.assert_allclose(image["share"], 100 * look.norms[:, positions].sum(1) / look.norms.sum(1))
    assert len(found) == 9


@pytest.mark.oracle("attention-map")
def test_maps_show_the_patches_in_their_places(random_vlm, probe_context, noise_questions):
    prompt = shown(random_vlm, noise_questions[0])
    found = attention_map(random_vlm, prompt, noise_questions[0].image, ["question"])
    assert set(found["target"]) == {"question"}
    bare = replace(noise_questions[0], objects=())
    both = AttentionMapProbe(kind="attention-map", targets=["question", "objects"])
    assert both.measure(probe_context, bare).equals(found)
    assert probe_context.skipped == [
        Skipped("0", "objects", "this prompt has no such segment: it was built without objects")
    ]
    look = random_vlm.attention_stats(prompt, ["question"])["question"]
    for row in found.to_dicts():
        assert (row["rows"], row["columns"], len(row["weight"])) == (3, 3, 9)
        np.testing.assert_allclose(row["weight"], 100 * look.weights[row["layer"], prompt.positions("image")])
        np.testing.assert_allclose(row["share"], 100 * look.shares[row["layer"], prompt.positions("image")])
    with pytest.raises(PromptError, match="none of the segments objects"):
        AttentionMapProbe(kind="attention-map", targets=["objects"]).measure(probe_context, bare)


@pytest.mark.oracle("visual-lens")
def test_the_lens_equals_reading_state_by_state(random_vlm, probe_context, noise_questions):
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


def test_what_stands_after_the_image_cannot_change_its_tokens(random_vlm, probe_context, noise_questions):
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


def test_an_image_that_sees_what_stands_after_it_is_read_again():
    """In PaliGemma the whole prompt sees itself, so that another question makes other states of the same image."""
    vlm, prompt = looking_ahead(pali_gemma)
    other = replace(prompt, inputs=prompt.inputs | {"input_ids": prompt.inputs["input_ids"].clone()})
    other.inputs["input_ids"][0, 11] = 20
    known = Decoder(vlm, 2)
    first, second = known.decode(prompt), known.decode(other)
    assert torch.equal(vlm.record(prompt).calls[0].hidden[:, :10], vlm.record(other).calls[0].hidden[:, :10])
    assert not torch.equal(first.entropy[1:], second.entropy[1:])
    assert known.decode(other).entropy.equal(second.entropy)


def test_objects_that_have_no_place(probe_context, noise_questions):
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


@pytest.mark.parametrize("template", ["vicuna_v1", "llava_llama_3"])
def test_words_of_trained_tokenizers(template):
    texts = ["the giraffe stands near a traffic light", "giraffe giraffes traffic lights red redder"] * 20
    tokenizer = build_processor("llava", template, texts).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer) + 8)
    assert len(vocabulary.is_word) == len(tokenizer) + 8
    assert not vocabulary.is_word[-8:].any()
    for token in tokenizer.all_special_ids:
        assert not vocabulary.is_word[token]
    whole = tokenizer("the giraffe", add_special_tokens=False).input_ids
    assert vocabulary.texts[whole[-1]] == "giraffe"
    said = {
        vocabulary.texts[i]
        for i in vocabulary.token_mask_for(["traffic light", "giraffe"]).nonzero().flatten().tolist()
    }
    assert {"traffic", "light", "giraffe", "giraffes", "lights"} & said >= {"traffic", "giraffe"}
    assert "the" not in said
    assert "red" not in said
    words = {vocabulary.texts[i] for i in vocabulary.is_word.nonzero().flatten().tolist()}
    assert "giraffe" in words
    assert not any(len(word) < 2 or not word.isalpha() for word in words)


def test_a_word_is_said_by_its_first_piece_if_that_tells_it():
    tokenizer = build_processor("llava", "vicuna_v1", ["pineapple pinecone pine banana ban"] * 9).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    first = tokenizer("pinewood", add_special_tokens=False).input_ids[0]
    says = vocabulary.token_mask_for(["pinewood"])
    assert bool(says[first]) == (len(vocabulary.texts[first]) >= 3)
    assert says.sum() <= 3
    assert words_of(["Traffic light", "a", "x-ray", "glass of wine"]) == {"traffic", "light", "ray", "glass", "wine"}


def test_pieces_from_within_words_say_nothing():
    texts = ["raincoat coat rain raining training trains"] * 9
    tokenizer = build_processor("llava", "vicuna_v1", texts).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    marked = [token.startswith("▁") for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    assert any(vocabulary.texts[token] == "rain" and not marked[token] for token in range(len(tokenizer)))
    assert all(marked[token] for token in vocabulary.token_mask_for(["rain", "coat"]).nonzero().flatten().tolist())


def test_too_little_memory_does_not_cost_a_prompt(random_vlm, noise_questions, monkeypatch):
    """The question is measured once more at the end of the job, and is not taken for one without this prompt."""

    def record(prompt):
        raise OutOfMemoryError("not even the smallest batch")

    monkeypatch.setattr(random_vlm, "record", record)
    run = ProbeRun(random_vlm, SimilarityProbe(kind="similarity"), "s", questions=noise_questions)
    with pytest.raises(RetryableQuestionError):
        run.measure(noise_questions[0])
    assert run.skipped == []
