"""A question and a picture as model inputs, with the token positions of every named segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image

from .edges import SEGMENTS
from .geometry import Box, GeometryError, patch_map
from .words import Span, find_objects, find_options


class PromptError(ValueError):
    """A prompt that cannot be built, or a segment that it does not have; the message says which and why."""


@dataclass(frozen=True)
class Patches:
    """Which of the tokens that a picture becomes stand for related patches.

    Attributes:
        tokens: how many tokens the picture becomes.
        related: numbers of the related patches among them, from 0.
        no_patch: numbers of the tokens that are no patch, such as row newlines.
    """

    tokens: int
    related: Sequence[int]
    no_patch: Sequence[int] = ()


@dataclass(frozen=True)
class Prompt:
    """What goes into the model, and where in it each segment stands.

    Attributes:
        inputs: keyword arguments of `model(**inputs)`, a batch of one.
        text: the prompt as a string, the picture as one placeholder.
        segments: segment → sorted positions in the expanded sequence, on the CPU.
        missing: segment → why this prompt does not have it.
    """

    inputs: dict[str, torch.Tensor]
    text: str
    segments: dict[str, torch.Tensor]
    missing: dict[str, str] = field(default_factory=dict)

    def positions(self, segment: str) -> torch.Tensor:
        """1-D LongTensor of the segment's positions, in increasing order.

        Raises:
            PromptError: there is no such segment, or this prompt does not have it.
        """
        if segment not in SEGMENTS:
            raise PromptError(f"unknown segment {segment!r}; known are {', '.join(SEGMENTS)}")
        if segment not in self.segments:
            raise PromptError(f"this prompt has no {segment!r}: {self.missing.get(segment, 'it holds no such text')}")
        return self.segments[segment]

    def __len__(self) -> int:
        return self.inputs["input_ids"].shape[1]


def build_prompt(
    processor: Any,
    image: Image.Image,
    question: str,
    *,
    image_token_id: int,
    objects: Mapping[str, Sequence[Box]] | None = None,
    options: tuple[str, str] | None = None,
    patches: Patches | None = None,
    instruction: str = "",
) -> Prompt:
    """Put picture and question into the processor's chat template and find every segment.

    Args:
        processor: a `transformers` processor with a chat template and a fast tokenizer.
        image: the picture.
        question: the question's own words.
        image_token_id: the token that the model replaces by the picture's features.
        objects: the objects that the question is about, by name, each with its boxes.
        options: (true option, false option).
        patches: where the related patches are known already; otherwise found from the boxes.
        instruction: text that follows the question, for instance to answer in one word; it belongs to `template`.

    Raises:
        PromptError: the question is empty, holds the picture's placeholder, or is not found in the built prompt.
    """
    _check_question(processor, question)
    text = chat_text(processor, question + instruction)
    inputs = dict(
        processor(images=[image.convert("RGB")], text=[text], return_tensors="pt", **_specials(processor, text))
    )
    finder = _Finder(processor, text, question, inputs["input_ids"][0], image_token_id)
    segments = {
        "image": finder.image,
        "question": finder.tokens([finder.question]),
        "template": finder.template(),
        "last": torch.tensor([len(inputs["input_ids"][0]) - 1]),
    }
    missing: dict[str, str] = {}
    places = _add_options(segments, missing, finder, options)
    _add_objects(segments, missing, finder, objects, places)
    _add_patches(segments, missing, processor, image, objects, patches)
    empty = [name for name, positions in segments.items() if len(positions) == 0]
    for name in empty:
        del segments[name]
        missing.setdefault(name, "no token is left for it")
    return Prompt(inputs, text, segments, missing)


def chat_text(processor: Any, question: str) -> str:
    """The prompt's text with one placeholder for the picture, up to where the answer begins."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def turn_end(processor: Any) -> int | None:
    """The special token that ends an answer in the conversation template; None where there is no such token."""
    said = "answer"
    content = [{"type": "image"}, {"type": "text", "text": "question"}]
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": said}]},
    ]
    try:
        text = processor.apply_chat_template(messages)
    except TemplateError:
        return None
    _, found, after = text.rpartition(said)
    tokens = processor.tokenizer(after, add_special_tokens=False).input_ids if found else []
    return tokens[0] if tokens and tokens[0] in processor.tokenizer.all_special_ids else None


def _check_question(processor: Any, question: str) -> None:
    if not question.strip():
        raise PromptError("the question is empty")
    specials = {processor.image_token, *processor.tokenizer.all_special_tokens}
    for token in sorted(specials):
        if token in question:
            raise PromptError(
                f"the question {question!r} holds {token!r}, which the tokenizer reads as a special token"
            )
    if not processor.tokenizer.is_fast:
        raise PromptError(
            f"{type(processor.tokenizer).__name__} is no fast tokenizer and does not say where tokens stand"
        )


def _specials(processor: Any, text: str) -> dict[str, bool]:
    """Chat templates of some models write the beginning-of-sequence token; it must not stand there twice."""
    start = processor.tokenizer.bos_token
    return {"add_special_tokens": False} if start and text.startswith(start) else {}


class _Finder:
    """Positions of characters of one prompt in its expanded sequence.

    From some place after the picture on, expanded and unexpanded prompt are the same tokens, so that these are counted
    from the end.
    """

    def __init__(self, processor: Any, text: str, question: str, input_ids: torch.Tensor, image_token_id: int) -> None:
        self.image = (input_ids == image_token_id).nonzero().flatten()
        if len(self.image) == 0:
            raise PromptError(f"the prompt holds no image token (id {image_token_id}): {text!r}")
        start = text.find(question, text.rfind(processor.image_token))
        if start < 0:
            raise PromptError(f"the chat template changes the question {question!r}; the prompt became {text!r}")
        self.text = question
        self.question: Span = (start, start + len(question))
        encoded = processor.tokenizer(text, return_offsets_mapping=True, **_specials(processor, text))
        after = _common_end(encoded.input_ids, input_ids.tolist())
        self.first = len(input_ids) - after
        self.offsets = encoded.offset_mapping[len(encoded.input_ids) - after :]
        if not self.offsets or self.offsets[0][0] > start:
            raise PromptError("the question is cut into other tokens once the picture before it is expanded")

    def tokens(self, spans: Sequence[Span]) -> torch.Tensor:
        """Positions of the tokens that overlap at least one of the spans of characters of the prompt."""
        found = [
            self.first + place
            for place, (start, end) in enumerate(self.offsets)
            if end > start and any(start < until and end > since for since, until in spans)
        ]
        return torch.tensor(found, dtype=torch.long)

    def in_question(self, spans: Sequence[Span]) -> torch.Tensor:
        """Positions of the tokens that overlap at least one of the spans of characters of the question."""
        begin = self.question[0]
        return self.tokens([(begin + start, begin + end) for start, end in spans])

    def template(self) -> torch.Tensor:
        question = self.tokens([self.question])
        return torch.arange(int(question[-1]) + 1, self.first + len(self.offsets) - 1)


def _common_end(first: list[int], second: list[int]) -> int:
    """How many tokens two sequences end with in common."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _without(positions: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    return positions[~torch.isin(positions, removed)]


def _add_options(
    segments: dict[str, torch.Tensor], missing: dict[str, str], finder: _Finder, options: tuple[str, str] | None
) -> list[Span]:
    """Add what has to do with options; returns where they stand in the question."""
    spans = find_options(finder.text, *options) if options else (None, None)
    for name, option, span in zip(("true option", "false option"), options or ("", ""), spans, strict=True):
        if span is not None:
            segments[name] = finder.in_question([span])
        elif options:
            missing[name] = f"{option!r} does not stand in the question {finder.text!r}"
        else:
            missing[name] = "it was built without options"
    if "true option" in segments and "false option" in segments:
        both = torch.cat([segments["true option"], segments["false option"]]).unique()
        segments["options"] = both
        segments["question without options"] = _without(segments["question"], both)
    else:
        reason = missing.get("true option") or missing["false option"]
        missing["options"] = missing["question without options"] = reason
    return [span for span in spans if span is not None]


def _add_objects(
    segments: dict[str, torch.Tensor],
    missing: dict[str, str],
    finder: _Finder,
    objects: Mapping[str, Sequence[Box]] | None,
    options: Sequence[Span],
) -> None:
    spans = find_objects(finder.text, list(objects or {}), options)
    if spans:
        segments["objects"] = finder.in_question(spans)
        segments["question without objects"] = _without(segments["question"], segments["objects"])
        return
    names = ", ".join(repr(name) for name in objects or {})
    reason = f"{names} does not stand in the question {finder.text!r}" if names else "it was built without objects"
    missing["objects"] = missing["question without objects"] = reason


def _add_patches(
    segments: dict[str, torch.Tensor],
    missing: dict[str, str],
    processor: Any,
    image: Image.Image,
    objects: Mapping[str, Sequence[Box]] | None,
    patches: Patches | None,
) -> None:
    image_tokens = segments["image"]
    try:
        if patches is None:
            boxes = [box for boxes in (objects or {}).values() for box in boxes]
            if not boxes:
                raise GeometryError("it was built without boxes")
            found = patch_map(processor, image.size)
            patches = Patches(found.tokens, found.related(boxes), found.no_patch)
        if patches.tokens != len(image_tokens):
            raise GeometryError(
                f"the picture became {len(image_tokens)} tokens, but its patch map has {patches.tokens}"
            )
    except GeometryError as error:
        missing["related patches"] = missing["other patches"] = str(error)
        return
    related = image_tokens[torch.as_tensor(patches.related, dtype=torch.long)]
    no_patch = image_tokens[torch.as_tensor(patches.no_patch, dtype=torch.long)]
    segments["related patches"] = related
    segments["other patches"] = _without(image_tokens, torch.cat([related, no_patch]))
