"""The positions of each named segment of a prompt, from characters and patches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vlmflow.edges import AS_MANY_AS_RELATED, SINK_SEGMENTS
from vlmflow.errors import GeometryError, PromptError
from vlmflow.prompts.layouts.patch_map import Box, Patches
from vlmflow.prompts.layouts.patch_maps import PatchMaps

from .model_inputs import special_tokens
from .spans import Span, find_objects, find_options

Positions = dict[str, torch.Tensor]
Missing = dict[str, str]


class Finder:
    """Finds the positions of characters of one prompt in its expanded sequence.

    From some token after the image on, the expanded and the unexpanded prompt have the same tokens, so these are
    counted from the end.
    """

    def __init__(self, tokenizer: Any, text: str, question: str, after: int, input_ids: torch.Tensor) -> None:
        """Find the question's words after the character with the index `after` in the prompt's text."""
        start = text.find(question, after)
        if start < 0:  # some templates remove space around a message
            question = question.strip()
            start = text.find(question, after)
        if start < 0:
            raise PromptError(f"the chat template changes the question {question!r}; the prompt became {text!r}")
        self.prompt, self.after, self.text = text, after, question
        self.question: Span = (start, start + len(question))
        # Some processors put a token after the text.
        for appended in dict.fromkeys(("", "\n", tokenizer.sep_token or "", tokenizer.eos_token or "")):
            encoded = tokenizer(text + appended, return_offsets_mapping=True, **special_tokens(tokenizer, text))
            common = _common_end(encoded.input_ids, input_ids.tolist())
            self.first = len(input_ids) - common
            self.offsets = encoded.offset_mapping[len(encoded.input_ids) - common :]
            if self.offsets and self.offsets[0][0] <= start:
                return
        raise PromptError("the question has other tokens once the image before it is expanded")

    def tokens(self, spans: Sequence[Span]) -> torch.Tensor:
        """Positions of the tokens that overlap at least one of the spans of characters of the prompt; without the last
        token, which is a segment by itself even if the prompt ends with the question."""
        found = [
            self.first + index
            for index, (start, end) in enumerate(self.offsets[:-1])
            if end > start and any(start < until and end > since for since, until in spans)
        ]
        return torch.tensor(found, dtype=torch.long)

    def in_question(self, spans: Sequence[Span]) -> torch.Tensor:
        """Positions of the tokens that overlap at least one of the spans of characters of the question."""
        begin = self.question[0]
        return self.tokens([(begin + start, begin + end) for start, end in spans])

    def common_segments(self) -> Positions:
        """The segments that every prompt has: question, template, last."""
        question, last = self.tokens([self.question]), self.first + len(self.offsets) - 1
        return {
            "question": question,
            "template": torch.arange(int(question[-1]) + 1, last),
            "last": torch.tensor([last]),
        }


def _common_end(first: list[int], second: list[int]) -> int:
    """The number of tokens that the ends of two sequences have in common."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _without(positions: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    return positions[~torch.isin(positions, removed)]


def add_options(segments: Positions, missing: Missing, finder: Finder, options: tuple[str, str] | None) -> list[Span]:
    """Add the segments of options.

    Returns:
        the spans of the options in the question.
    """
    spans = find_options(finder.text, *options) if options else (None, None)
    for name, option, span in zip(("true option", "false option"), options or ("", ""), spans, strict=True):
        if span is not None:
            segments[name] = finder.in_question([span])
        elif options:
            missing[name] = f"{option!r} is not in the question {finder.text!r}"
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


def add_objects(
    segments: Positions,
    missing: Missing,
    finder: Finder,
    objects: Mapping[str, Sequence[Box]] | None,
    options: Sequence[Span],
    incomplete: Missing,
) -> None:
    """Add the segments of object names, which are searched outside of the options; `incomplete` gets the reason if only
    some of the names are in the question."""
    found = find_objects(finder.text, list(objects or {}), options)
    if found:
        segments["objects"] = finder.in_question(list(found.values()))
        segments["question without objects"] = _without(segments["question"], segments["objects"])
        if absent := [name for name in objects or {} if name not in found]:
            reason = f"{', '.join(map(repr, absent))} is not in the question {finder.text!r}"
            incomplete |= dict.fromkeys(("objects", "question without objects"), reason)
        return
    names = ", ".join(repr(name) for name in objects or {})
    reason = f"{names} is not in the question {finder.text!r}" if names else "it was built without objects"
    missing["objects"] = missing["question without objects"] = reason


def add_surroundings(segments: Positions, missing: Missing) -> None:
    """Add the segments of the tokens between the image's own tokens, and between them and the question."""
    image, question = segments["image"], segments["question"]
    behind = int(image[-1]) + 1
    found = {
        "image separators": _without(torch.arange(int(image[0]), behind), image),
        "after image": torch.arange(behind, max(behind, int(question[0]))),
    }
    reasons = {
        "image separators": "no token stands between those of the image",
        "after image": "no token stands between the image and the question",
    }
    for name, positions in found.items():
        if len(positions):
            segments[name] = positions
        else:
            missing[name] = reasons[name]


def add_patches(
    segments: Positions,
    missing: Missing,
    patch_maps: PatchMaps,
    size: tuple[int, int],
    objects: Mapping[str, Sequence[Box]] | None,
    patches: Patches | None,
    seed: str,
) -> None:
    """Add the segments of related and other patches, and of as many random other patches as there are related ones."""
    image_tokens = segments["image"]
    try:
        if patches is None:
            found = patch_maps.find(size)
            boxes = [box for boxes in (objects or {}).values() for box in boxes]
            if not boxes:
                raise GeometryError("it was built without boxes")
            patches = Patches(found.tokens, found.related(boxes), found.no_patch)
        if patches.tokens != len(image_tokens):
            raise GeometryError(f"the image became {len(image_tokens)} tokens, but its patch map has {patches.tokens}")
        if wrong := [index for index in (*patches.related, *patches.no_patch) if not 0 <= index < patches.tokens]:
            raise GeometryError(f"there is no image token {wrong[0]}: the image became {patches.tokens}, from 0 on")
    except GeometryError as error:
        missing |= dict.fromkeys(("related patches", "other patches", AS_MANY_AS_RELATED), str(error))
        return
    related = image_tokens[_as_indices(patches.related)]
    others = _without(image_tokens, torch.cat([related, image_tokens[_as_indices(patches.no_patch)]]))
    segments |= {"related patches": related, "other patches": others}
    if len(others) < len(related):
        missing[AS_MANY_AS_RELATED] = (
            f"there are {len(others)} other patches, fewer than the {len(related)} related ones"
        )
    else:
        drawn = np.random.default_rng([*seed.encode()]).choice(len(others), size=len(related), replace=False)
        segments[AS_MANY_AS_RELATED] = others[torch.from_numpy(np.sort(drawn))]


def add_sinks(segments: Positions, missing: Missing, sinks: Sequence[int] | None) -> None:
    """Add the segments of sinks, whose indices among the image's tokens are `sinks`, and of the patches without
    them."""
    if sinks is None:
        missing |= dict.fromkeys(SINK_SEGMENTS, "it was built without the indices of the sinks")
        return
    segments["sinks"] = segments["image"][_as_indices(sinks)]
    for name in ("related patches", "other patches"):
        if name in segments:
            segments[f"{name} without sinks"] = _without(segments[name], segments["sinks"])
        else:
            missing[f"{name} without sinks"] = missing[name]


def _as_indices(numbers: Sequence[int]) -> torch.Tensor:
    return torch.as_tensor(numbers, dtype=torch.long)
