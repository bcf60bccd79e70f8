"""Model inputs for a question and an image, or captions in its place, with the positions of every segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from vlmflow.edges import IMAGE_SEGMENTS, SEGMENTS, is_own
from vlmflow.errors import PromptError
from vlmflow.prompts.layouts.patch_map import Box
from vlmflow.prompts.layouts.patch_maps import PatchMaps

from .cut_at_image import around_image, cuts_at_image
from .model_inputs import chat_text, image_inputs, marks, special_tokens
from .segments import (
    Finder,
    Missing,
    Patches,
    Positions,
    add_objects,
    add_options,
    add_patches,
    add_sinks,
    add_surroundings,
)

__all__ = [
    "Patches",
    "Prompt",
    "PromptError",
    "build_caption_prompt",
    "build_image_prompt",
    "build_prompt",
    "turn_end",
]


@dataclass(frozen=True)
class Prompt:
    """Model inputs, and the positions of each segment in them.

    Attributes:
        inputs: keyword arguments of `model(**inputs)`, a batch of one.
        text: the prompt as a string, with one placeholder for the image.
        segments: segment → sorted positions (LongTensor) in the decoder's sequence, from 0, on the CPU.
        missing: segment → the reason for which this prompt does not have it.
        incomplete: segment → the reason for which it does not have all that it should.
        options: (true option, false option) with which it was built.
    """

    inputs: dict[str, torch.Tensor]
    text: str
    segments: dict[str, torch.Tensor]
    missing: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    options: tuple[str, str] | None = None

    def positions(self, segment: str) -> torch.Tensor:
        """1-D LongTensor (CPU) of the segment's positions in the decoder's sequence, in increasing order.

        Args:
            segment: such as "image", "related patches", "question", "last"; all are in `vlmflow.edges.SEGMENTS`.

        Raises:
            PromptError: there is no such segment, or this prompt does not have it.
        """
        if segment not in SEGMENTS and not is_own(segment):
            raise PromptError(f"unknown segment {segment!r}; choose from {', '.join(SEGMENTS)}")
        if segment not in self.segments:
            raise PromptError(
                f"this prompt has no {segment!r}: {self.missing.get(segment, 'it does not hold such a text')}"
            )
        return self.segments[segment]

    def continued(self, token_ids: Sequence[int], inputs: Mapping[str, torch.Tensor]) -> "Prompt":
        """The same prompt with these tokens of an answer behind it: `last` is the last of them, and all positions
        between the question and it are `template`.

        Args:
            token_ids: at least one.
            inputs: all other inputs of the longer prompt, such as its mask; see `LanguageModel.continue_prompt`.
        """
        tokens = self.inputs["input_ids"]
        length, more = tokens.shape[1], len(token_ids)
        longer = torch.cat([tokens, torch.tensor([token_ids], device=tokens.device)], dim=1)
        segments = self.segments | {
            "template": torch.arange(int(self.segments["question"][-1]) + 1, length + more - 1),
            "last": torch.tensor([length + more - 1]),
        }
        missing = {name: why for name, why in self.missing.items() if name != "template"}
        return Prompt({**inputs, "input_ids": longer}, self.text, segments, missing, self.incomplete, self.options)

    def __len__(self) -> int:
        return self.inputs["input_ids"].shape[1]


def build_prompt(
    processor: Any,
    image: Image.Image,
    question: str,
    *,
    image_token_id: int,
    patch_maps: PatchMaps | None = None,
    objects: Mapping[str, Sequence[Box]] | None = None,
    options: tuple[str, str] | None = None,
    patches: Patches | None = None,
    sinks: Sequence[int] | None = None,
    instruction: str = "",
    seed: str | None = None,
) -> Prompt:
    """The prompt of an image and a question in the processor's chat template.

    Args:
        processor: a `transformers` processor with a chat template and a fast tokenizer.
        image: of any size and mode.
        question: the question's own words.
        image_token_id: the token that the model replaces by the image's features.
        patch_maps: of the processor and its model; by default those that layouts declare.
        objects: name → boxes (x, y, width, height) in pixels of the image, of the objects that the question is about.
        options: (true option, false option).
        patches: the related patches, if they are already known; otherwise they are found from the boxes.
        sinks: indices, among the image's tokens, of the patches whose features have a high norm.
        instruction: text that follows the question, for instance to answer in one word; it belongs to `template`.
        seed: of the random choice of other patches that are as many as the related ones; by default the question.

    Raises:
        PromptError: the question is empty, holds the image's placeholder, or is not found in the built prompt.
    """
    _check_text(processor, "question", question)
    text = chat_text(processor, question + instruction)
    inputs, positions = image_inputs(processor, image, text, image_token_id)
    finder = finder_of(processor, text, question, inputs["input_ids"][0])
    segments: Positions = {"image": positions, **finder.common_segments()}
    missing: Missing = {"caption": "its model reads the image, not captions"}
    add_surroundings(segments, missing)
    option_spans = add_options(segments, missing, finder, options)
    incomplete: Missing = {}
    add_objects(segments, missing, finder, objects, option_spans, incomplete)
    maps = patch_maps or PatchMaps(processor)
    add_patches(segments, missing, maps, image.size, objects, patches, question if seed is None else seed)
    add_sinks(segments, missing, sinks)
    return _without_empty(Prompt(inputs, text, segments, missing, incomplete, options))


def finder_of(processor: Any, text: str, question: str, tokens: torch.Tensor) -> Finder:
    """What finds words of a prompt after the image.

    Args:
        processor: of the model.
        text: the prompt's text.
        question: the question's own words in it.
        tokens: (N) token ids of the expanded prompt.

    Raises:
        PromptError: the question is not found.
    """
    if cuts_at_image(processor):
        _, text = around_image(processor, text)  # whose tokens may differ from those that the whole text has there
        return Finder(processor.tokenizer, text, question, 0, tokens)
    # Some processors put the image's tokens before a text that does not name them.
    token = getattr(processor, "image_token", None)
    after = max(0, text.rfind(str(token))) if token else 0
    return Finder(processor.tokenizer, text, question, after, tokens)


def build_image_prompt(
    processor: Any, image: Image.Image, text: str, *, image_token_id: int, before: bool = False
) -> Prompt:
    """The prompt of an image with any text, or none, to measure the image's tokens alone; its only segment is `image`.

    Args:
        processor, image, image_token_id: as in `build_prompt`.
        text: may be empty.
        before: whether the text comes before the image instead of after it.

    Raises:
        PromptError: the text holds a special token, or the conversation template cannot put it before an image.
    """
    if text:
        _check_text(processor, "text", text)
    prompt_text = chat_text(processor, text, text_first=before)
    if before and text and prompt_text == chat_text(processor, text):
        raise PromptError("its conversation template always puts the image before the text")
    inputs, positions = image_inputs(processor, image, prompt_text, image_token_id)
    missing = dict.fromkeys(SEGMENTS, "it was built for the image's tokens alone")
    return Prompt(inputs, prompt_text, {"image": positions}, missing)


def build_caption_prompt(
    processor: Any,
    captions: str,
    question: str,
    *,
    objects: Sequence[str] = (),
    options: tuple[str, str] | None = None,
    instruction: str = "",
) -> Prompt:
    """The prompt of captions, in place of the image, and a question; [flow] appendix G.

    Args:
        processor: of a vision-language model, or of a language model alone; see `models.processor.load_text_processor`.
        captions: a description of the image in words; they replace the image, on lines of their own.
        question, options, instruction: as in `build_prompt`.
        objects: names of the objects that the question is about.

    Raises:
        PromptError: captions or question are empty, or are not found in the built prompt.
    """
    _check_text(processor, "question", question)
    _check_text(processor, "captions", captions)
    text = chat_text(processor, f"{captions}\n{question}{instruction}", image=False)
    start = text.find(captions)
    if start < 0:
        raise PromptError(f"the chat template changes the captions; the prompt became {text!r}")
    encoded = processor.tokenizer(text, return_tensors="pt", **special_tokens(processor.tokenizer, text))
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}
    finder = Finder(processor.tokenizer, text, question, start + len(captions), inputs["input_ids"][0])
    segments: Positions = {"caption": finder.tokens([(start, start + len(captions))]), **finder.common_segments()}
    missing: Missing = dict.fromkeys(IMAGE_SEGMENTS, "its model reads captions, not the image")
    option_spans = add_options(segments, missing, finder, options)
    incomplete: Missing = {}
    add_objects(segments, missing, finder, {name: [] for name in objects}, option_spans, incomplete)
    return _without_empty(Prompt(inputs, text, segments, missing, incomplete, options))


def _without_empty(prompt: Prompt) -> Prompt:
    """The prompt; segments without tokens are moved to the missing ones."""
    for name in [name for name, positions in prompt.segments.items() if len(positions) == 0]:
        del prompt.segments[name]
        prompt.missing.setdefault(name, "no token is left for it")
    return prompt


def turn_end(processor: Any) -> int | None:
    """The special token that ends an answer in the conversation template; None if there is no such token."""
    answer = "answer"
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "question"}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    try:
        text = processor.apply_chat_template(messages)
    except Exception:  # a template is a program, which may fail in any way for an answer
        return None
    _, found, after = text.rpartition(answer)
    tokens = processor.tokenizer(after, add_special_tokens=False).input_ids if found else []
    return tokens[0] if tokens and tokens[0] in marks(processor.tokenizer).values() else None


def _check_text(processor: Any, what: str, text: str) -> None:
    if not text.strip():
        raise PromptError("there are no captions of the image" if what == "captions" else f"the {what} is empty")
    specials = {str(getattr(processor, "image_token", None) or ""), *marks(processor.tokenizer)} - {""}
    for token in sorted(specials):
        if token in text:
            raise PromptError(f"the {what} {text!r} holds {token!r}, which the tokenizer reads as a special token")
    if not processor.tokenizer.is_fast:
        raise PromptError(
            f"{type(processor.tokenizer).__name__} is not a fast tokenizer and does not give the positions of tokens"
        )
