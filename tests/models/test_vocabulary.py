"""Which tokens of a vocabulary are words, and which of them say a name."""

import pytest

from support.tiny_models import build_processor
from vlmflow.models.vocabulary import Vocabulary, words_of


@pytest.mark.parametrize("template", ["vicuna_v1", "llava_llama_3"])
def test_words_of_trained_tokenizers_are_found(template):
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


def test_the_first_piece_of_a_word_counts_if_it_is_long_enough():
    tokenizer = build_processor("llava", "vicuna_v1", ["pineapple pinecone pine banana ban"] * 9).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    first = tokenizer("pinewood", add_special_tokens=False).input_ids[0]
    says = vocabulary.token_mask_for(["pinewood"])
    assert bool(says[first]) == (len(vocabulary.texts[first]) >= 3)
    assert says.sum() <= 3
    assert words_of(["Traffic light", "a", "x-ray", "glass of wine"]) == {"traffic", "light", "ray", "glass", "wine"}


def test_pieces_from_within_words_do_not_count():
    texts = ["raincoat coat rain raining training trains"] * 9
    tokenizer = build_processor("llava", "vicuna_v1", texts).tokenizer
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    marked = [token.startswith("▁") for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    assert any(vocabulary.texts[token] == "rain" and not marked[token] for token in range(len(tokenizer)))
    assert all(marked[token] for token in vocabulary.token_mask_for(["rain", "coat"]).nonzero().flatten().tolist())
