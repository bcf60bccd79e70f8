"""Tokens of a prompt whose text before the image and text after it are cut into tokens separately.

LLaVA's published code does so, while `transformers` cuts the whole text at once.  The tokens around the image differ,
since a tokenizer may begin a text with a token of its own, and every piece is a text then.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlmflow.errors import PromptError

# The line with which a conversation template asks for it.
CUT_AT_IMAGE = '{%- set text_around_image = "cut separately" -%}'
_REQUEST = re.compile(r"""\{%-?\s*set\s+text_around_image\s*=\s*(["'])cut separately\1\s*-?%\}""")


def cuts_at_image(processor: Any) -> bool:
    """Whether the processor's conversation template contains `CUT_AT_IMAGE`."""
    template = getattr(processor, "chat_template", None)
    return isinstance(template, str) and _REQUEST.search(template) is not None


def around_image(processor: Any, text: str) -> tuple[str, str]:
    """(text before the image's placeholder, text after it).

    Raises:
        PromptError: the text does not have one placeholder.
    """
    pieces = text.split(_placeholder(processor))
    if len(pieces) != 2:
        raise PromptError(
            "this conversation template cuts the text at the image, but writes its placeholder "
            f"{_placeholder(processor)!r} {len(pieces) - 1} times instead of once: {text!r}"
        )
    return pieces[0], pieces[1]


def cut_at_image(processor: Any, text: str, inputs: Mapping[str, Tensor], image_token_id: int) -> dict[str, Tensor]:
    """The inputs with the tokens of LLaVA's published code: new `input_ids` and `attention_mask`, each (1, length).

    Args:
        processor: of a LLaVA, with a tokenizer.
        text: the prompt, with one placeholder for the image.
        inputs: what the processor makes of the text and the image; they have as many image tokens as the image needs.
        image_token_id: the token that the model replaces by the image's features.

    Raises:
        PromptError: the processor is not one of a LLaVA: it gives other inputs per token, or writes more around the
            image than the template does.
    """
    before, after = _published(processor.tokenizer, *around_image(processor, text))
    old = inputs["input_ids"]
    for name, value in inputs.items():
        if name not in ("input_ids", "attention_mask") and getattr(value, "shape", None) == old.shape:
            raise _not_llava(processor, f"its model takes {name} for each token")
    image = [image_token_id] * int((old == image_token_id).sum())
    _check_expansion(processor, text, old[0].tolist(), image)
    tokens = torch.tensor([[*before, *image, *after]], dtype=old.dtype)
    return {**inputs, "input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _published(tokenizer: Any, before: str, after: str) -> tuple[list[int], list[int]]:
    """(tokens before the image, tokens after it)."""
    first, second = tokenizer(before).input_ids, tokenizer(after).input_ids
    # If the prompt begins with the token that begins texts, the published code takes it to be the tokenizer's, and the
    # other piece to have got one too.  Neither need be so: if the template wrote it, there are two of them, or the
    # other piece loses a token of its own.
    begun = bool(first) and first[0] == tokenizer.bos_token_id
    return first, second[1:] if begun else second


def _check_expansion(processor: Any, text: str, tokens: list[int], image: list[int]) -> None:
    """Raise an error unless the processor's only change to the text is to repeat the image's token."""
    plain: list[int] = processor.tokenizer(text, add_special_tokens=False).input_ids
    place = plain.index(image[0]) if image and image[0] in plain else len(plain)
    expanded = plain[:place] + image + plain[place + 1 :]
    if tokens[len(tokens) - len(expanded) :] != expanded:
        raise _not_llava(processor, "it writes other tokens around the image")


def _placeholder(processor: Any) -> str:
    return str(getattr(processor, "image_token", None) or "<image>")


def _not_llava(processor: Any, why: str) -> PromptError:
    return PromptError(
        "this conversation template cuts the text at the image, as LLaVA's published code does, and is for the LLaVA "
        f"models; {type(processor).__name__} is of another one: {why}"
    )
