"""A model's tokens as words: the tokens that are words, and those that name a given object."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vlmflow.prompts.spans import plural

# Marks of tokenizers for the beginning of a word.
MARKS = ("▁", "Ġ")
NAME_NOTHING = set("an and are at by for from in is it not of off on or out that the this to up with".split())
LEAST = 3  # letters of a first sub-word that counts as its word


class Vocabulary:
    """The words of a tokenizer.

    Attributes:
        texts: the text of every token, stripped.
        is_word: (vocabulary) True for tokens that are words: at least two letters and nothing else, at the beginning of
            a word if the tokenizer marks it.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        """Read the first `size` tokens of a tokenizer, as many as the unembedding has."""
        self.tokenizer = tokenizer
        known = min(size, len(tokenizer))
        raw = tokenizer.convert_ids_to_tokens(list(range(known)))
        self.texts = [text.strip() for text in tokenizer.batch_decode([[token] for token in range(known)])]
        self.texts += [""] * (size - known)
        special = set(tokenizer.all_special_tokens)
        marked = any(token.startswith(MARKS) for token in raw if token)
        self.is_word = torch.tensor([
            token not in special and len(text) > 1 and text.isalpha() and (not marked or token.startswith(MARKS))
            for token, text in zip(raw, self.texts[:known], strict=True)
        ] + [False] * (size - known))  # fmt: skip
        self._ids: defaultdict[str, list[int]] = defaultdict(list)
        for token, text in enumerate(self.texts):
            begins = token < known and (not marked or raw[token].startswith(MARKS))
            if text and begins and raw[token] not in special:
                self._ids[text.lower()].append(token)

    def token_mask_for(self, names: Iterable[str]) -> Tensor:
        """(vocabulary) True for tokens of one of the names: one of its words, its plural, or its first sub-word of at
        least three letters; in any case.  Tokens from within words name nothing."""
        mask = torch.zeros(len(self.texts), dtype=torch.bool)
        for word in words_of(names):
            for form in (word, plural(word), self._first_sub_word(word)):
                mask[self._ids.get(form, [])] = True
        return mask

    def _first_sub_word(self, word: str) -> str:
        """The sub-word with which the word begins, if it is long enough to count as the word; else the word."""
        first = self.texts[self.tokenizer(word, add_special_tokens=False).input_ids[0]].lower()
        return first if len(first) >= LEAST and word.startswith(first) else word


def words_of(names: Iterable[str]) -> set[str]:
    """The words of names and attributes, in lowercase, without those that name nothing: both words of `traffic light`,
    but not the `of` in `glass of wine`."""
    return {word for name in names for word in re.findall(r"[^\W\d_]{2,}", name.lower())} - NAME_NOTHING
