"""Greedy decoding of a model's answer, also if its own generation settings request sampling."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationConfig, PreTrainedModel

from vlmflow.engine.forward import naming_the_model

# Number of tokens after which an answer is cut.
MAX_NEW_TOKENS = 16


@dataclass(frozen=True)
class Answer:
    """A model's answer by greedy decoding.

    Attributes:
        text: the decoded tokens, stripped.
        token_ids: the tokens, without the end-of-sequence token.
        probability: the probability of the first token, from the logits in float32.
        tokens: the text of each token.
        token_probabilities: the probability of each token, given those before it.
    """

    text: str
    token_ids: list[int]
    probability: float
    tokens: list[str] = field(default_factory=list)
    token_probabilities: list[float] = field(default_factory=list)


@torch.inference_mode()
def decode_greedily(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    *,
    max_new_tokens: int,
    ends: Sequence[int],
    padding: int | None,
    cache: Cache | None = None,
) -> tuple[list[int], Tensor]:
    """(token ids of the greedy continuation up to one of `ends`, logits (tokens, vocabulary) of each choice).

    Args:
        model: of `transformers`.
        inputs: of a prompt, a batch of one.
        max_new_tokens: the largest number of tokens.
        ends: tokens that end the continuation.
        padding: the tokenizer's padding token, for models that name none themselves.
        cache: keeps keys and values; by default it is of the model's own kind.
    """
    own = model.generation_config
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(ends) or None,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else padding,
        bos_token_id=own.bos_token_id,
        return_dict_in_generate=True,
        output_logits=True,
    )
    with _generation_settings(model, greedy), naming_the_model(model):
        generated = model.generate(**inputs, **({} if cache is None else {"past_key_values": cache}))
    return generated.sequences[0, inputs["input_ids"].shape[1] :].tolist(), torch.cat(generated.logits)


# Names of the parts of each model that have generation settings: finding them takes a tenth of a small model's answer.
_OWNERS: WeakKeyDictionary[PreTrainedModel, list[str]] = WeakKeyDictionary()


def _owners(model: PreTrainedModel) -> list[nn.Module]:
    """The parts of a model that have generation settings."""
    if model not in _OWNERS:
        named = model.named_modules()
        _OWNERS[model] = [name for name, part in named if getattr(part, "generation_config", None) is not None]
    return [model.get_submodule(name) for name in _OWNERS[model]]


@contextmanager
def _generation_settings(model: PreTrainedModel, settings: GenerationConfig) -> Iterator[None]:
    """In the block, the model has these generation settings, and so has a language model inside of it, by which some
    models generate; otherwise `generate` would take values that are not set from the model's own configuration."""
    owners = _owners(model)
    before = [part.generation_config for part in owners]
    try:
        for part in owners:
            part.generation_config = settings
        yield
    finally:
        for part, own in zip(owners, before, strict=True):
            part.generation_config = own
