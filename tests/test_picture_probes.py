"""Probes of how picture and words meet, each against a direct, slow way to the same numbers."""

import math
from itertools import product

import numpy as np
import polars as pl
import pytest
import torch
from common import TINY_LLAVA, random_llava
from hypothesis import given, settings
from hypothesis import strategies as st
from looking_ahead import gemma_3, looking_ahead, pali_gemma
from PIL import Image
from test_replay import DECODERS, random_decoder
from tiny_models import build_model, build_processor

from vlmflow.asking import Asking
from vlmflow.attention import can_share
from vlmflow.geometry import GeometryError, patch_map
from vlmflow.interventions import Knockout, ReplayError
from vlmflow.jobs import QuestionError
from vlmflow.looks import looks
from vlmflow.models import VisionLanguageModel, load_model
from vlmflow.parts import DoesNotApplyError, find_layers
from vlmflow.plain import plain
from vlmflow.probes.attention import attention, attention_map
from vlmflow.probes.budget import budget, cells_of, chosen, numbers, places
from vlmflow.probes.similarity import Directions, similarity
from vlmflow.probes.visual_lens import visual_lens
from vlmflow.prompts import PromptError
from vlmflow.reference import Reference, intact_loss, loss_without, losses_without, reference
from vlmflow.tables import ALL_TOKENS, PAIRS
from vlmflow.vocabulary import Vocabulary, words_of

QUESTIONS = [
    "what color is the circle , red or blue ?",
    "is the square red ?",
    "what is to the left of the circle ?",
    "is a circle in the picture ?",
]
THINGS = [("circle", ["red"]), ("square", ["blue"]), ("circle", ["left"]), ("square", ["a"])]


def noise(size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Four questions, the last two about one picture."""
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for number, (question, (name, attributes)) in enumerate(zip(QUESTIONS, THINGS, strict=True)):
        path = folder / f"{min(number, 2)}.png"
        noise(12, min(number, 2)).save(path)
        thing = {"name": name, "id": "1", "x": 4.0, "y": 0.0, "w": 8.0, "h": 4.0, "attributes": attributes}
        found.append(
            {
                "question_id": str(number),
                "image_id": path.stem,
                "question": question,
                "answer": "red",
                "image": str(path),
                "structural": "choose",
                "objects": [thing],
                "token_ids": [6],
            }
        )
    return found


@pytest.fixture(scope="module")
def vlm():
    return random_llava(layers=3, grid=3, heads=4, key_heads=2)


@pytest.fixture
def asking(vlm, rows):
    return Asking(vlm, "", rows)


def shown(vlm, row, question=None):
    return vlm.prompt(Image.open(row["image"]), question or row["question"])


def hidden(vlm, prompt):
    """(layers + 1, N, width) states as `transformers` gives them, the last ones before the final norm."""
    states = []
    handle = vlm.layers[-1].register_forward_hook(
        lambda _m, _a, out: states.append(out if torch.is_tensor(out) else out[0])
    )
    with torch.no_grad():
        all_states = vlm.model(**prompt.inputs, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.cat([*all_states[:-1], states[0]])


# --- similarity ---


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def pair_by_pair(states, image, text, ids):
    """(3, layers + 1): every pair of different positions, one after the other; of text, of different words."""
    found = []
    for layer in states:
        across = [cosine(layer[i], layer[j]) for i in image for j in text]
        pictures = [cosine(layer[i], layer[j]) for i in image for j in image if i != j]
        words = [cosine(layer[i], layer[j]) for i in text for j in text if ids[i] != ids[j]]
        found.append([np.mean(across), np.mean(pictures), np.mean(words)])
    return np.array(found).T


def unrelated_pair_by_pair(mine, other):
    """(3, layers + 1): of two (states, image positions, text positions, token ids), without pairs of the same word."""
    found = []
    for here, there in zip(mine[0], other[0], strict=True):
        (image, text, ids), (their_image, their_text, their_ids) = mine[1:], other[1:]
        between = [cosine(here[i], there[j]) for i in image for j in their_text]
        back = [cosine(there[i], here[j]) for i in their_image for j in text]
        pictures = [cosine(here[i], there[j]) for i in image for j in their_image]
        words = [cosine(here[i], there[j]) for i in text for j in their_text if ids[i] != their_ids[j]]
        found.append([(np.mean(between) + np.mean(back)) / 2, np.mean(pictures), np.mean(words)])
    return np.array(found).T


def test_similarity_equals_the_pairs(vlm, asking, rows):
    measured = similarity(asking, rows[0], {"own": "{question}", "other": "is the {object} red ?"}, 2, print)
    for name, text in (("own", "{question}"), ("other", "is the {object} red ?")):
        sides = []
        # The unrelated ones of the first question are the next two about other pictures, in the same words.
        for row in rows[:3]:
            prompt = shown(vlm, row, text.format(question=row["question"], object=row["objects"][0]["name"]))
            ids = prompt.inputs["input_ids"][0].tolist()
            sides.append(
                (hidden(vlm, prompt), prompt.positions("image").tolist(), prompt.positions("question").tolist(), ids)
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


def test_similarity_leaves_out_what_cannot_be_asked(asking, rows):
    notes = []
    row = rows[0] | {"objects": []}
    found = similarity(asking, row, {"own": "{question}", "yes-no": "is the {object} red ?"}, 1, notes.append)
    assert set(found["prompt"]) == {"own"}
    assert notes == ["prompt yes-no: the question is about no object that could stand in 'is the {object} red ?'"]
    with pytest.raises(QuestionError, match="no prompt of the probe is left"):
        similarity(asking, row, {"one": "?"}, 1, notes.append)
    assert "single token" in notes[-1]
    with pytest.raises(QuestionError, match="no prompt of the probe is left"):
        similarity(asking, row, {"twice": "red red red"}, 1, notes.append)
    assert "the text is one word" in notes[-1]
    alone = Asking(asking.vlm, "", rows[2:])
    with pytest.raises(QuestionError, match="no prompt of the probe is left"):
        similarity(alone, rows[2], {"own": "{question}"}, 1, notes.append)
    assert "no question on another picture" in notes[-1]


def test_a_prompt_that_cannot_be_compared_does_not_take_the_others_with_it(asking, rows):
    bare = [rows[0], *(row | {"objects": []} for row in rows[1:])]
    notes = []
    compared = Asking(asking.vlm, "", bare)
    found = similarity(compared, bare[0], {"own": "{question}", "yes-no": "is the {object} red ?"}, 1, notes.append)
    assert set(found["prompt"]) == {"own"}
    assert len(notes) == 1


def test_neighbours_are_not_asked_twice(vlm, rows, monkeypatch):
    asked = []
    record = vlm.record
    monkeypatch.setattr(vlm, "record", lambda prompt: asked.append(prompt) or record(prompt))
    asking = Asking(vlm, "", rows, room=4)
    for row in rows:
        similarity(asking, row, {"own": "{question}"}, 2, print)
    assert len(asked) == len(rows)
    small = Asking(vlm, "", rows, room=1)
    one = similarity(small, rows[0], {"own": "{question}"}, 2, print)
    assert one.equals(similarity(asking, rows[0], {"own": "{question}"}, 2, print))
    assert len(small.kept) == 1


# --- attention ---


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


def test_looks_equal_the_pairs(vlm, rows):
    prompt = shown(vlm, rows[0])
    segments = ["image", "question", "last"]
    found = vlm.looks(prompt, segments)
    with torch.no_grad():
        for segment in segments:
            weights, norms = norms_pair_by_pair(vlm, prompt, prompt.positions(segment).tolist())
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
        with pytest.raises(DoesNotApplyError, match="does not let its attention be watched"):
            looks(model, layers, inputs, targets)
        return
    before = model(**inputs).logits
    found = looks(model, layers, inputs, targets)
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


def test_memory_is_cut_without_changing_the_result(vlm, rows, monkeypatch):
    prompt = shown(vlm, rows[0])
    whole = vlm.looks(prompt, ["image", "last"])
    monkeypatch.setattr("vlmflow.looks.QUERIES", 2)
    monkeypatch.setattr("vlmflow.looks.KEYS", 3)
    cut = vlm.looks(prompt, ["image", "last"])
    for segment, look in whole.items():
        torch.testing.assert_close(cut[segment].norms, look.norms, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(cut[segment].weights, look.weights, rtol=1e-12, atol=1e-12)


def test_edges_add_up_what_is_looked_at(vlm, rows):
    prompt = shown(vlm, rows[0])
    found = attention(vlm, prompt, ["image -> last", "question -> last", "image -> question"])
    look = vlm.looks(prompt, ["last"])["last"]
    image = found.filter(pl.col("edge") == "image -> last")
    positions = prompt.positions("image")
    np.testing.assert_allclose(image["weight"], 100 * look.weights[:, positions].sum(1))
    np.testing.assert_allclose(image["norm"], look.norms[:, positions].sum(1))
    np.testing.assert_allclose(image["share"], 100 * look.norms[:, positions].sum(1) / look.norms.sum(1))
    assert len(found) == 9


def test_maps_show_the_patches_in_their_places(vlm, rows):
    prompt = shown(vlm, rows[0])
    notes = []
    found = attention_map(vlm, prompt, rows[0]["image"], ["question", "objects"], notes.append)
    assert set(found["target"]) == {"question"}
    assert notes == ["objects: this prompt has no such segment: it was built without objects"]
    look = vlm.looks(prompt, ["question"])["question"]
    for row in found.to_dicts():
        assert (row["rows"], row["columns"], len(row["weight"])) == (3, 3, 9)
        np.testing.assert_allclose(row["weight"], 100 * look.weights[row["layer"], prompt.positions("image")])
        np.testing.assert_allclose(row["share"], 100 * look.shares[row["layer"], prompt.positions("image")])
    with pytest.raises(PromptError, match="none of the segments objects"):
        attention_map(vlm, prompt, rows[0]["image"], ["objects"], print)


# --- the lens on the picture's tokens ---


def test_the_lens_equals_reading_state_by_state(vlm, asking, rows):
    found = visual_lens(
        asking,
        rows[0],
        top=3,
        instructions=["none", "right", "wrong"],
        places=["after", "before"],
        keep_words=True,
        leave_out=print,
    )
    texts = {"right": rows[0]["question"], "wrong": rows[1]["question"], "none": ""}
    names = {"own": ["circle", "circles", "red", "reds"], "other": ["square", "squares", "blue", "blues"]}
    words = vlm.processor.tokenizer.convert_ids_to_tokens(range(vlm.unembedding.out_features))
    object_patches, others = {1, 2}, {0, 3, 4, 5, 6, 7, 8}
    picture = Image.open(rows[0]["image"])
    top_words = {}
    for place, (instruction, text) in product(("after", "before"), texts.items()):
        prompt = vlm.picture_prompt(picture, text, before=place == "before")
        states = hidden(vlm, prompt)[:, prompt.positions("image")]
        for layer, each in enumerate(states):
            row = found.filter(
                (pl.col("place") == place) & (pl.col("instruction") == instruction) & (pl.col("layer") == layer - 1)
            ).row(0, named=True)
            with torch.no_grad():
                probabilities = vlm.unembedding(vlm.norm(each)).softmax(-1)
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
            right = top_words.get((place, "right", layer))
            if right is not None:
                same = np.mean([a == b for a, b in zip(right, top_words[place, instruction, layer], strict=True)])
                assert row["agreement"] == pytest.approx(100 * same)
            assert (row["decoded"] is not None) == (instruction == "right")
            if row["decoded"] is not None:
                assert row["decoded"] == [s[0] for s in said]


def test_what_stands_after_the_picture_cannot_change_its_tokens(vlm, asking, rows):
    """In a causal decoder the instruction after the picture plays no part by construction; before it, it does."""
    found = visual_lens(
        asking,
        rows[0],
        top=3,
        instructions=["right", "wrong", "none"],
        places=["after", "before"],
        keep_words=False,
        leave_out=print,
    )
    columns = ["layer", "object", "entropy", "words", "agreement"]
    after, before = (
        [
            found.filter((pl.col("place") == place) & (pl.col("instruction") == instruction)).select(columns)
            for instruction in ("right", "wrong", "none")
        ]
        for place in ("after", "before")
    )
    assert after[0].equals(after[1])
    assert after[0].equals(after[2])
    assert not before[0].equals(before[1])
    assert not before[0].equals(before[2])
    assert found["decoded"].null_count() == len(found)


def test_the_same_states_are_read_once(vlm, asking, rows, monkeypatch):
    read, vlm_read = [], vlm.read
    monkeypatch.setattr(vlm, "read", lambda *given: read.append(1) or vlm_read(*given))
    settings_ = {"top": 2, "keep_words": False, "leave_out": print}
    visual_lens(asking, rows[0], instructions=["right", "wrong", "none"], places=["after"], **settings_)
    assert len(read) == 4  # layers and embedding
    visual_lens(asking, rows[0], instructions=["right", "wrong", "none"], places=["before"], **settings_)
    assert len(read) == 4 + 3 * 4


def test_objects_that_have_no_place(asking, rows):
    notes = []
    absent = rows[0]["objects"][0] | {"id": None, "x": None}
    found = visual_lens(
        asking,
        rows[0] | {"objects": [absent]},
        top=2,
        instructions=["right"],
        places=["after"],
        keep_words=False,
        leave_out=notes.append,
    )
    assert found["object"].null_count() == len(found)
    assert found["entropy"].null_count() == 0
    assert notes == ["names of objects: none of the question's objects has a box"]


@pytest.mark.parametrize("template", ["vicuna_v1", "llava_llama_3"])
def test_words_of_trained_tokenizers(template):
    texts = ["the giraffe stands near a traffic light", "giraffe giraffes traffic lights red redder"] * 20
    tokenizer = build_processor("llava", template, texts).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer) + 8)
    assert len(vocabulary.words) == len(tokenizer) + 8
    assert not vocabulary.words[-8:].any()
    for token in tokenizer.all_special_ids:
        assert not vocabulary.words[token]
    whole = tokenizer("the giraffe", add_special_tokens=False).input_ids
    assert vocabulary.texts[whole[-1]] == "giraffe"
    said = {vocabulary.texts[i] for i in vocabulary.saying(["traffic light", "giraffe"]).nonzero().flatten().tolist()}
    assert {"traffic", "light", "giraffe", "giraffes", "lights"} & said >= {"traffic", "giraffe"}
    assert "the" not in said
    assert "red" not in said
    words = {vocabulary.texts[i] for i in vocabulary.words.nonzero().flatten().tolist()}
    assert "giraffe" in words
    assert not any(len(word) < 2 or not word.isalpha() for word in words)


def test_a_word_is_said_by_its_first_piece_if_that_tells_it():
    tokenizer = build_processor("llava", "vicuna_v1", ["pineapple pinecone pine banana ban"] * 9).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    first = tokenizer("pinewood", add_special_tokens=False).input_ids[0]
    says = vocabulary.saying(["pinewood"])
    assert bool(says[first]) == (len(vocabulary.texts[first]) >= 3)
    assert says.sum() <= 3
    assert words_of(["Traffic light", "a", "x-ray", "glass of wine"]) == {"traffic", "light", "ray", "glass", "wine"}


def test_pieces_from_within_words_say_nothing():
    texts = ["raincoat coat rain raining training trains"] * 9
    tokenizer = build_processor("llava", "vicuna_v1", texts).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    marked = [token.startswith("▁") for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    assert any(vocabulary.texts[token] == "rain" and not marked[token] for token in range(len(tokenizer)))
    assert all(marked[token] for token in vocabulary.saying(["rain", "coat"]).nonzero().flatten().tolist())


# --- budgets and places ---


def directly(vlm, prompt, answer, kept):
    """Loss of an answer, from embeddings of which some of the picture's are taken out, the others in their places."""
    ids = torch.cat([prompt.inputs["input_ids"], torch.tensor([answer])], dim=1)
    inputs = prompt.inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    given_ = []
    decoder = vlm.model.get_decoder()
    handle = decoder.register_forward_pre_hook(
        lambda _m, _a, kwargs: given_.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        vlm.model(**inputs)
        handle.remove()
        image = prompt.positions("image")
        stay = [i for i in range(ids.shape[1]) if i not in set(image.tolist()) or i in set(image[kept].tolist())]
        states = decoder(inputs_embeds=given_[0][:, stay], position_ids=torch.tensor([stay])).last_hidden_state
        logits = vlm.unembedding(states)[0].log_softmax(-1)
    places_ = range(len(stay) - len(answer) - 1, len(stay) - 1)
    return -np.mean([logits[place, token].item() for place, token in zip(places_, answer, strict=True)])


@settings(max_examples=25, deadline=None)
@given(kept=st.sets(st.integers(0, 8)), answer=st.lists(st.integers(5, 20), min_size=1, max_size=3))
def test_dropping_equals_leaving_embeddings_out_and_blocking(kept, answer):
    vlm = random_llava(layers=3, grid=3, heads=4, key_heads=2)
    prompt = vlm.prompt(noise(12, 5), QUESTIONS[0])
    asked = reference(vlm, prompt, vlm.processor.tokenizer.decode(answer), answer)
    assert asked.token_ids == answer
    image = prompt.positions("image")
    dropped = image[[token for token in range(9) if token not in kept]]
    expected = directly(vlm, prompt, answer, sorted(kept))
    recording = vlm.record(asked.prompt)
    assert loss_without(vlm, asked, recording, dropped) == pytest.approx(expected, abs=1e-9)
    if len(dropped):
        assert losses_without(vlm, asked, recording, [dropped]) == [pytest.approx(expected, abs=1e-9)]
    else:
        assert intact_loss(vlm, asked, recording) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_dropping_equals_the_plain_method_on_the_papers_architectures(kind):
    texts = [QUESTIONS[0], "red", "blue"]
    processor = build_processor(kind, "vicuna_v1", texts)
    vlm = VisionLanguageModel(build_model(kind, processor, "red").double(), processor)
    prompt = vlm.prompt(noise(100, 3), QUESTIONS[0])
    asked = reference(vlm, prompt, "blue", vlm.answer(prompt).token_ids)
    image, recording = prompt.positions("image"), vlm.record(asked.prompt)
    for dropped in (image[::2], image[4:], image[:3]):
        later = torch.arange(int(dropped[0]) + 1, len(asked.prompt))
        later = later[~torch.isin(later, dropped)]
        states = plain(
            vlm.model, vlm.layers, asked.prompt.inputs, [Knockout(dropped, later, 0, 3)], positions=asked.positions
        )
        log = vlm.logits(states[0]).log_softmax(-1)
        expected = -np.mean([log[i, token].item() for i, token in enumerate(asked.token_ids)])
        assert loss_without(vlm, asked, recording, dropped) == pytest.approx(expected, abs=1e-9)
        assert losses_without(vlm, asked, recording, [dropped]) == [pytest.approx(expected, abs=1e-9)]


@pytest.mark.parametrize("build", [pali_gemma, gemma_3])
def test_pictures_whose_tokens_see_each_other(build):
    """Nothing of a hidden cell reaches the answer by way of the tokens before it, and no answer sees what follows."""
    vlm, prompt = looking_ahead(build)
    answers = [[7, 8, 9], [7, 8, 11]]
    longer = [vlm.said(prompt, answer) for answer in answers]
    with torch.no_grad():
        first, other = (vlm.model(**each.inputs).logits[0, len(prompt) - 1 : len(prompt) + 2] for each in longer)
        alone = vlm.model(**prompt.inputs).logits[0, -1]
    torch.testing.assert_close(first, other)
    torch.testing.assert_close(first[0], alone)
    asked = Reference(vlm.said(prompt, answers[0][:-1]), answers[0])
    recording, image = vlm.record(asked.prompt), prompt.positions("image")
    for cell in (image[:3], image[3:6], image[6:], image[4:5], image):
        assert losses_without(vlm, asked, recording, [cell]) == [
            pytest.approx(loss_without(vlm, asked, recording, cell), abs=1e-9)
        ]
    assert loss_without(vlm, asked, recording, image[:0]) == pytest.approx(intact_loss(vlm, asked, recording))


def test_a_model_that_changes_states_between_its_layers_cannot_do_without_some(vlm, rows):
    """As Qwen3-VL, which adds the picture's features to states of later layers as well."""
    changing = random_llava(layers=3, grid=3)

    def change(module, args, kwargs):
        return (args[0] + torch.arange(args[0].shape[1])[:, None], *args[1:]), kwargs

    changing.layers[1].register_forward_pre_hook(change, with_kwargs=True)
    notes = []
    with pytest.raises(QuestionError, match="no prompt of the probe is left"):
        budget(
            Asking(changing, "", rows),
            rows[0],
            prompts={"own": "{question}"},
            keep=["first"],
            draws=1,
            leave_out=notes.append,
        )
    assert "changes states between its layers" in notes[0]


def test_the_reference_is_written_as_the_model_writes():
    vlm = load_model(TINY_LLAVA)
    prompt = vlm.prompt(noise(96, 0), "Is the circle red or blue?")
    tokens = vlm.processor.tokenizer.convert_tokens_to_ids
    assert reference(vlm, prompt, "red", [tokens("Red")]).token_ids == [tokens("Red")]
    assert reference(vlm, prompt, "blue", [tokens("Red")]).token_ids == [tokens("Blue")]
    assert reference(vlm, prompt, "blue", [tokens("red")]).token_ids == [tokens("blue")]
    asked = reference(vlm, prompt, "left right", [tokens("red")])
    assert len(asked.prompt) == len(prompt) + 1
    assert asked.positions.tolist() == [len(prompt) - 1, len(prompt)]


def test_budgets(vlm, asking, rows):
    notes = []
    prompts = {"own": "{question}", "please": "the picture , {question}", "none": "is {object} red ?"}
    row = rows[0] | {"objects": []}
    found = budget(asking, row, prompts=prompts, keep=["first", "spread", "random"], draws=2, leave_out=notes.append)
    assert len(notes) == 1
    assert set(found["prompt"]) == {"own", "please"}
    for name, text in (("own", row["question"]), ("please", f"the picture , {row['question']}")):
        prompt = shown(vlm, row, text)
        asked = reference(vlm, prompt, row["answer"], row["token_ids"])
        for way in ("first", "spread", "random"):
            mine = found.filter((pl.col("prompt") == name) & (pl.col("keep") == way)).sort("kept")
            assert mine["number"].to_list() == [0, 1, 2, 4, 8, ALL_TOKENS]
            assert mine["kept"].to_list() == [0, 1, 2, 4, 8, 9]
            for number, kept, loss in mine.select("number", "kept", "loss").iter_rows():
                draws = [range(kept)] if kept in (0, 9) else chosen(way, number, 9, 2, row["question_id"])
                losses = [directly(vlm, prompt, asked.token_ids, list(some)) for some in draws]
                assert loss == pytest.approx(np.mean(losses), abs=1e-9)
    again = budget(asking, row, prompts=prompts, keep=["random"], draws=2, leave_out=notes.append)
    assert again.equals(found.filter(pl.col("keep") == "random"))


@given(tokens=st.integers(1, 3000), seed=st.text(max_size=5))
def test_which_tokens_are_kept(tokens, seed):
    for number in numbers(tokens):
        assert number < tokens
        for way in ("first", "spread", "random"):
            draws = chosen(way, number, tokens, 2, seed)
            assert len(draws) == (2 if way == "random" else 1)
            for some in draws:
                assert len(set(some)) == len(some) == number
                assert some == sorted(some)
                assert 0 <= some[0] <= some[-1] < tokens
        assert chosen("first", number, tokens, 1, seed) == [list(range(number))]
        gaps = np.diff(chosen("spread", number, tokens, 1, seed)[0])
        assert len(gaps) == 0 or max(gaps) - min(gaps) <= 1
    assert numbers(1) == []
    assert numbers(576)[-1] == 512
    assert numbers(512)[-1] == 256


def test_places_equal_a_forward_a_cell(vlm, asking, rows):
    row = rows[0]
    prompt = shown(vlm, row)
    found = places(asking, row, prompt, 3).row(0, named=True)
    answer = reference(vlm, prompt, row["answer"], row["token_ids"]).token_ids
    intact = directly(vlm, prompt, answer, list(range(9)))
    assert found["loss"] == pytest.approx(intact, abs=1e-9)
    assert found["grid"] == 3
    for cell, growth in enumerate(found["growth"]):
        without = directly(vlm, prompt, answer, [token for token in range(9) if token != cell])
        assert growth == pytest.approx(without - intact, abs=1e-9)
    with pytest.raises(GeometryError, match="cells hold no patch: the picture has 3 × 3; a smaller grid fits"):
        places(asking, row, prompt, 4)


@settings(max_examples=20, deadline=None)
@given(width=st.integers(20, 200), height=st.integers(20, 200), grid=st.integers(2, 3))
def test_every_patch_has_its_cell(width, height, grid, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "picture.png"
    Image.new("RGB", (width, height)).save(path)
    processor = build_processor("llava_next", "vicuna_v1", ["a b"])
    asking = Asking(type("Model", (), {"processor": processor}), "", [])
    found = patch_map(processor, (width, height))
    try:
        cells = cells_of(asking, {"image": str(path)}, grid)
    except GeometryError:
        assert any(min(view.rows, view.columns) < grid for view in found.views)
        return
    tokens = sorted(token for cell in cells for token in cell.tolist())
    assert tokens == sorted(set(range(found.tokens)) - set(found.no_patch))
    for number, cell in enumerate(cells):
        row, column = divmod(number, grid)
        # Every patch's middle lies in its cell of the picture.
        for view in found.views:
            for (line, place), token in np.ndenumerate(view.tokens):
                if token in cell:
                    x = ((place + 0.5) * view.patch - view.shift_x) / view.scale_x / width * grid
                    y = ((line + 0.5) * view.patch - view.shift_y) / view.scale_y / height * grid
                    assert column - 1e-6 <= x <= column + 1 + 1e-6
                    assert row - 1e-6 <= y <= row + 1 + 1e-6


def test_answers_that_are_no_numbers(vlm, asking, rows):
    broken = random_llava(layers=3, grid=3)
    with torch.no_grad():
        broken.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    notes = []
    with pytest.raises(QuestionError, match="no prompt of the probe is left"):
        similarity(Asking(broken, "", rows), rows[0], {"own": "{question}"}, 1, notes.append)
    assert "not finite numbers" in notes[0]
    with pytest.raises(ReplayError, match="not finite"):
        places(Asking(broken, "", rows), rows[0], shown(broken, rows[0]), 3)
