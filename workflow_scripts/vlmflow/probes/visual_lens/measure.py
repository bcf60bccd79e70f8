"""Logit lens on the picture's tokens: which words they decode to, layer by layer; [thesis]."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.data.open_image import open_picture
from vlmflow.engine.record import Recording
from vlmflow.errors import GeometryError, NotApplicableError, PromptError
from vlmflow.models.vocabulary import Vocabulary, words_of
from vlmflow.probes.context import Asking, Row
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.registry import find_patch_map
from vlmflow.prompts.patch_row import size_for_boxes
from vlmflow.tables import NAMES_OF_OBJECTS


@dataclass(frozen=True)
class Decoded:
    """What the picture's tokens decode to at every layer, the embedding first.

    Attributes:
        words: (layers + 1, tokens, top) the most probable token ids, the first one first.
        entropy: (layers + 1, tokens) of the distribution over the vocabulary, in bits.
    """

    words: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Target:
    """What is looked for in one place of the picture: tokens (numbers among the picture's) and the words that say what
    is there, with the words of another question's objects as a control."""

    tokens: Tensor
    says: Tensor
    shuffled: Tensor | None


def visual_lens(
    asking: Asking,
    row: Row,
    *,
    top: int,
    instructions: Sequence[str],
    places: Sequence[str],
    keep_words: bool,
    leave_out: Callable[[str], None],
) -> pl.DataFrame:
    """How far the picture's tokens decode to words, and to the right ones.

    Args:
        asking: model and questions.
        row: of the question.
        top: so many words a token are looked at.
        instructions: right (the question), wrong (that of another picture), none.
        places: where the instruction stands, after the picture or before it.
        keep_words: whether the most probable word of every patch is kept, for the right instruction.
        leave_out: told what does not apply to this question, and why.

    Returns:
        columns instruction, place, layer (−1 for the embedding), object, elsewhere, shuffled (percent of the tokens of
        the objects' patches, of other patches, and of the objects' patches with another question's names, whose `top`
        words say a name or an attribute; null where the question has no such object), entropy (bits), words (percent
        of tokens that decode to a word), agreement (percent of the tokens with the same most probable word as with the
        right instruction), decoded (the word of each patch of the picture's first view, or null).

    Raises:
        NotApplicableError: nothing is left to measure.
    """
    vocabulary = asking.vlm.vocabulary
    targets, others = _targets(asking, row, leave_out)
    grid = _grid(asking, row) if keep_words else None
    parts, known = [], Known(asking, top)
    # The right one first, with which the others are compared.
    order = sorted(instructions, key="right wrong none".split().index)
    texts = list(_texts(asking, row, order, leave_out))
    for place in places:
        right: Decoded | None = None
        for instruction, text in texts:
            try:
                prompt = asking.vlm.picture_prompt(
                    open_picture(row["image"]), text, before=place == "before" and bool(text)
                )
                decoded = known.decode(prompt)
            except PromptError as error:
                leave_out(f"{instruction} instruction {place} the picture: {error}")
                continue
            right = decoded if instruction == "right" else right
            words: list[list[str] | None] = [None] * len(decoded.words)
            if grid is not None and instruction == "right":
                words = [[vocabulary.texts[token] for token in layer] for layer in decoded.words[:, grid, 0].tolist()]
            parts.append(
                _measured(decoded, right, vocabulary, targets, others).with_columns(
                    instruction=pl.lit(instruction),
                    place=pl.lit(place),
                    decoded=pl.Series(words, dtype=pl.List(pl.String)),
                )
            )
    if not parts:
        raise NotApplicableError("no instruction of the probe can be given")
    return pl.concat(parts)


def _texts(
    asking: Asking, row: Row, instructions: Sequence[str], leave_out: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """(instruction, its words)."""
    for instruction in instructions:
        if instruction == "wrong":
            texts = (other["question"] for other in asking.unrelated(row) if other["question"] != row["question"])
            text = next(texts, None)
            if text is None:
                leave_out("wrong instruction: there is no other question on another picture")
            else:
                yield instruction, text
        else:
            yield instruction, row["question"] if instruction == "right" else ""


class Known:
    """Decodes prompts; a picture that begins a prompt as it began the last one, and cannot look at what stands after
    it, is not read again."""

    def __init__(self, asking: Asking, top: int) -> None:
        self.asking, self.top = asking, top
        self.begin: Tensor | None = None
        self.decoded: Decoded | None = None

    def decode(self, prompt: Prompt) -> Decoded:
        """What the picture's tokens of a prompt decode to."""
        recording = self.asking.vlm.record(prompt)
        end = int(prompt.positions("image")[-1]) + 1
        begin = recording.calls[0].hidden[:, :end]
        same = self.begin is not None and torch.equal(begin, self.begin) and not _looks_ahead(recording, end)
        if not same or self.decoded is None:
            self.decoded, self.begin = self._read(list(_image_states(recording, prompt))), begin
        return self.decoded

    def _read(self, states: Sequence[Tensor]) -> Decoded:
        words, entropies = [], []

        def reader(logits: Tensor) -> Tensor:
            log = logits.log_softmax(-1)
            entropies.append((-(log.exp() * log).sum(dim=-1) / np.log(2)).cpu())
            return logits.topk(self.top).indices

        for layer in states:
            words.append(self.asking.vlm.read(layer, reader, in_float32=True))
        return Decoded(torch.stack(words), torch.cat(entropies).reshape(len(states), -1))


def _looks_ahead(recording: Recording, end: int) -> bool:
    """Whether any of the first `end` positions attends to a later one."""
    return recording.may_attend.attend_ahead(end)


def _image_states(recording: Recording, prompt: Prompt) -> Iterator[Tensor]:
    for states in recording.states():
        yield states[0, prompt.positions("image").to(states.device)]


def _targets(asking: Asking, row: Row, leave_out: Callable[[str], None]) -> tuple[list[Target], Tensor | None]:
    """(for each object what is looked for on its patches, tokens of the patches that belong to none of the objects)."""
    placed = [item for item in row["objects"] if item["x"] is not None]
    try:
        if not placed:
            raise GeometryError("none of the question's objects has a box")
        found = find_patch_map(asking.vlm.processor, size_for_boxes(row))
        boxes = [(item["x"], item["y"], item["w"], item["h"]) for item in placed]
        places = [found.related([box]) for box in boxes]
    except GeometryError as error:
        leave_out(f"{NAMES_OF_OBJECTS}{error}")
        return [], None
    vocabulary, wrong = asking.vlm.vocabulary, _other_names(asking, row)
    if not wrong:
        leave_out("shuffled names: no question on another picture has an object of another name")
    targets = [
        Target(
            torch.tensor(tokens),
            vocabulary.token_mask_for(_names(item)),
            vocabulary.token_mask_for(wrong) if wrong else None,
        )
        for item, tokens in zip(placed, places, strict=True)
    ]
    taken = {*found.no_patch, *(token for tokens in places for token in tokens)}
    return targets, torch.tensor([token for token in range(found.tokens) if token not in taken], dtype=torch.long)


def _names(item: dict) -> list[str]:
    return [item["name"], *(item["attributes"] or [])]


def _other_names(asking: Asking, row: Row) -> set[str]:
    """The words of an object of the next unrelated question, without those that this question's objects have too."""
    mine = words_of(name for item in row["objects"] for name in _names(item))
    for other in asking.unrelated(row):
        for item in other["objects"]:
            if item["x"] is not None and (words := words_of(_names(item)) - mine):
                return words
    return set()


def _grid(asking: Asking, row: Row) -> Tensor | None:
    """Tokens of the first view's patches, row by row; None where tokens are no patches."""
    try:
        cells = find_patch_map(asking.vlm.processor, open_picture(row["image"]).size).views[0].tokens
    except GeometryError:
        return None
    return torch.from_numpy(cells.flatten())


def _measured(
    decoded: Decoded, right: Decoded | None, vocabulary: Vocabulary, targets: Sequence[Target], others: Tensor | None
) -> pl.DataFrame:
    """A row a layer."""

    def percent(flags: Tensor) -> list[float]:
        return (100 * flags.double().mean(dim=1)).tolist()

    def said(tokens: Tensor, says: Tensor) -> Tensor:
        return says[decoded.words[:, tokens]].any(dim=2)

    nothing: list[float | None] = [None] * len(decoded.words)
    shuffled = [said(target.tokens, target.shuffled) for target in targets if target.shuffled is not None]
    first = decoded.words[:, :, 0]
    comparable = right is not None and right.words.shape == decoded.words.shape
    found = {
        "object": [said(target.tokens, target.says) for target in targets],
        # Elsewhere, the names of all objects are looked for, one object at a time.
        "elsewhere": [said(others, target.says) for target in targets] if others is not None and len(others) else [],
        "shuffled": shuffled,
        "words": [vocabulary.is_word[first]],
        "agreement": [first == right.words[:, :, 0]] if right is not None and comparable else [],
    }  # fmt: skip
    return pl.DataFrame(
        {
            "layer": range(-1, len(decoded.words) - 1),
            "entropy": decoded.entropy.double().mean(dim=1).tolist(),
            **{name: percent(torch.cat(parts, dim=1)) if parts else nothing for name, parts in found.items()},
        },
        schema_overrides={"layer": pl.Int32} | dict.fromkeys(found, pl.Float64),
    )
