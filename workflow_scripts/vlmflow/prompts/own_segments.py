"""The positions of the segments that a study defines itself, and of positions that are given directly."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import torch

from vlmflow.edges import in_brackets
from vlmflow.errors import GeometryError, PromptError
from vlmflow.own_segments import Boxes, OwnSegment
from vlmflow.prompts.layouts.patch_map import Box
from vlmflow.prompts.layouts.patch_maps import PatchMaps

from .build import Prompt, finder_of
from .segments import Finder
from .spans import Span, all_spans

# A segment's name, or its positions.
Positions = str | Sequence[int] | torch.Tensor
# An edge as text, or its source and target.
GivenEdge = str | tuple[Positions, Positions]


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object of a question, with its box (x, y, width, height) in pixels of the image, if it is there."""

    name: str
    attributes: Sequence[str]
    box: Box | None


@dataclasses.dataclass(frozen=True)
class About:
    """What segments of a study are found in, besides the prompt.

    Attributes:
        processor: the model's.
        question: the question's own words.
        things: the objects that it is about.
        patch_maps: of the model; None for one that reads captions.
        find_size: returns the (width, height) in pixels of the image for which the boxes were drawn; it raises
            GeometryError if the image has another size.
        seed: of random positions.
        captions: what is in the place of the image; None if the model reads the image.
    """

    processor: Any
    question: str
    things: Sequence[Thing] = ()
    patch_maps: PatchMaps | None = None
    find_size: Callable[[], tuple[int, int]] = lambda: (0, 0)
    seed: str = ""
    captions: str | None = None


def with_own_segments(prompt: Prompt, own: Mapping[str, OwnSegment], about: About) -> Prompt:
    """The prompt with the segments of a study, under their names in brackets; those that it does not have are missing,
    with the reason."""
    if not own:
        return prompt
    try:
        finder = _finder(prompt, about)
    except PromptError as error:
        return dataclasses.replace(prompt, missing=prompt.missing | dict.fromkeys(map(in_brackets, own), str(error)))
    left = dict(own)
    while left:
        # A segment is found after those by which it is defined.
        ready = [name for name, each in left.items() if not {in_brackets(other) for other in left} & {*each.refers_to}]
        for name in ready:
            prompt = _with_segment(prompt, name, left.pop(name), finder, about)
    return prompt


def _finder(prompt: Prompt, about: About) -> Finder:
    """What finds words after the image, or after the captions in its place.

    Raises:
        PromptError: the question is not found.
    """
    tokens = prompt.inputs["input_ids"][0].cpu()
    if about.captions is None:
        return finder_of(about.processor, prompt.text, about.question, tokens)
    behind = prompt.text.find(about.captions) + len(about.captions)
    return Finder(about.processor.tokenizer, prompt.text, about.question, behind, tokens)


def _with_segment(prompt: Prompt, name: str, own: OwnSegment, finder: Finder, about: About) -> Prompt:
    named = in_brackets(name)
    try:
        positions = _positions(prompt, name, own, finder, about)
    except (PromptError, GeometryError) as error:
        return dataclasses.replace(prompt, missing=prompt.missing | {named: str(error)})
    return dataclasses.replace(prompt, segments=prompt.segments | {named: positions})


def _positions(prompt: Prompt, name: str, own: OwnSegment, finder: Finder, about: About) -> torch.Tensor:
    """The positions of one segment.

    Raises:
        PromptError, GeometryError: the prompt does not have it; the message says why.
    """
    if own.words is not None:
        spans = [span for words in own.words for span in all_spans(finder.text, words)]
        return _some(finder.in_question(spans), f"none of {own.words} is in the question {finder.text!r}")
    if own.pattern is not None:
        spans = _matches(own.pattern, finder.text)
        return _some(finder.in_question(spans), f"{own.pattern!r} matches nothing in the question {finder.text!r}")
    if own.around is not None:
        start, end = finder.question
        matches = _matches(own.around, finder.prompt)
        spans = [(a, b) for a, b in matches if a >= finder.after and (b <= start or a >= end)]
        return _some(finder.tokens(spans), f"{own.around!r} matches no text after the image outside of the question")
    if own.boxes is not None:
        return _patches(prompt, own.boxes, about)
    everything = torch.arange(len(prompt)) if own.of is None else prompt.positions(own.of)
    excluded = prompt.positions(own.all_but or own.as_many_as or "")
    others = everything[~torch.isin(everything, excluded)]
    if own.all_but is not None:
        return _some(others, f"there is nothing but {own.all_but!r}")
    if len(others) < len(excluded):
        raise PromptError(f"there are only {len(others)} other positions, but {own.as_many_as!r} has {len(excluded)}")
    digest = blake2b(f"{name} {about.seed}".encode(), digest_size=8).digest()
    chosen = np.random.default_rng(int.from_bytes(digest)).choice(len(others), len(excluded), replace=False)
    return others[np.sort(chosen)]


def _matches(pattern: str, text: str) -> list[Span]:
    return [match.span() for match in re.finditer(pattern, text) if match.end() > match.start()]


def _some(positions: torch.Tensor, reason: str) -> torch.Tensor:
    if not len(positions):
        raise PromptError(reason)
    return positions


def _patches(prompt: Prompt, wanted: Boxes, about: About) -> torch.Tensor:
    boxes = [
        thing.box
        for thing in about.things
        if thing.box is not None
        and wanted.name in (None, thing.name)
        and (wanted.attribute is None or wanted.attribute in thing.attributes)
    ]
    if not boxes:
        described = " and ".join(f"the {key} {value!r}" for key, value in wanted.model_dump(exclude_none=True).items())
        raise PromptError(f"no object of the question with a box has {described}")
    if about.patch_maps is None:
        raise PromptError("its model reads captions, not the image")
    image = prompt.positions("image")
    found = about.patch_maps.find(about.find_size())
    if found.tokens != len(image):
        raise GeometryError(f"the image became {len(image)} tokens, but its patch map has {found.tokens}")
    return image[torch.tensor(sorted(found.related(boxes)), dtype=torch.long)]


def with_given_positions(prompt: Prompt, segments: Iterable[Positions]) -> tuple[Prompt, list[str]]:
    """(the prompt with segments of the positions that are given directly, the name of each segment).

    Args:
        prompt: of any model.
        segments: names of segments, or positions from 0, in any order.

    Raises:
        PromptError: there are no positions, or the prompt has fewer.
    """
    names, added = [], {}
    for given in segments:
        if isinstance(given, str):
            names.append(given)
            continue
        positions = torch.as_tensor(given, dtype=torch.long).flatten().unique().cpu()
        if not len(positions) or positions[0] < 0 or positions[-1] >= len(prompt):
            raise PromptError(f"positions {positions.tolist()}: give some from 0 to {len(prompt) - 1}")
        names.append(in_brackets(_ranges(positions.tolist())))
        added[names[-1]] = positions
    return dataclasses.replace(prompt, segments=prompt.segments | added), names


def with_given_edges(prompt: Prompt, edges: Iterable[GivenEdge]) -> tuple[Prompt, list[str]]:
    """(the prompt with segments of the positions that are given directly, each edge as text).

    Args:
        prompt: of any model.
        edges: each as "source -> target", or as (source, target), each a segment or its positions.

    Raises:
        PromptError: as in `with_given_positions`.
    """
    named = []
    for edge in edges:
        if isinstance(edge, str):
            named.append(edge)
            continue
        prompt, (source, target) = with_given_positions(prompt, edge)
        named.append(f"{source} -> {target}")
    return prompt, named


def _ranges(positions: list[int]) -> str:
    """`3, 5–9`: increasing positions, neighbours together."""
    runs = [
        [position for _, position in run]
        for _, run in groupby(enumerate(positions), key=lambda numbered: numbered[1] - numbered[0])
    ]
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
