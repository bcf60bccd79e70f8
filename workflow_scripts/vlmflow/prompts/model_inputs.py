"""The text of a prompt in the conversation template, and the model inputs of an image and such a text."""

from typing import Any

import torch
from PIL import Image

from vlmflow.data.open_image import in_rgb
from vlmflow.engine.batch_size import ran_out
from vlmflow.errors import PromptError

from .cut_at_image import cut_at_image, cuts_at_image


def special_tokens(tokenizer: Any, text: str) -> dict[str, bool]:
    """The tokenizer's setting for special tokens: none are added if the chat template has already written the first."""
    start = tokenizer.bos_token
    return {"add_special_tokens": False} if start and text.startswith(start) else {}


def marks(tokenizer: Any) -> dict[str, int]:
    """The tokens that stand for no text, with their numbers: special ones, and added ones that look like marks.

    Some tokenizers call only a part of their marks special; what is written like one is read as one all the same.
    """
    found = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    for number, token in getattr(tokenizer, "added_tokens_decoder", {}).items():
        text = str(token)
        if token.special or (text[:1], text[-1:]) in (("<", ">"), ("[", "]")):
            found.setdefault(text, number)
    return found


def chat_text(processor: Any, question: str, image: bool = True, text_first: bool = False) -> str:
    """The prompt's text up to the beginning of the answer, with one placeholder for the image, if there is one."""
    images = [{"type": "image"}] if image else []
    texts = [{"type": "text", "text": question}] if question else []
    message = {"role": "user", "content": texts + images if text_first else images + texts}
    return processor.apply_chat_template([message], add_generation_prompt=True)


def image_inputs(
    processor: Any, image: Image.Image, text: str, image_token_id: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(model inputs, positions of the image's tokens in them).

    Raises:
        PromptError: the processor makes no inputs of this image and text, or none with the image's tokens; or the
            template is for LLaVA models only, and this is another one.
    """
    special = special_tokens(processor.tokenizer, text)
    image = in_rgb(image)
    try:
        inputs = dict(processor(images=[image], text=[text], return_tensors="pt", **special))
    except Exception as error:  # for an unexpected image, a processor may fail anywhere
        if ran_out(error):
            raise
        raise PromptError(
            f"{type(processor).__name__} cannot make inputs from this image of {image.width} × {image.height} pixels "
            f"and this text: {type(error).__name__}: {error}"
        ) from error
    inputs.pop("labels", None)  # for training; they may be longer than the logits that are computed
    if cuts_at_image(processor):
        inputs = cut_at_image(processor, text, inputs, image_token_id)
    positions = (inputs["input_ids"][0] == image_token_id).nonzero().flatten()
    if len(positions) == 0:
        raise PromptError(f"the prompt holds no image token (id {image_token_id}): {text!r}")
    return inputs, positions
