"""Logit lens on the image's tokens: which words they decode to, layer by layer; [thesis]."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.data.open_image import open_image
from vlmflow.engine.recording import Recording
from vlmflow.errors import GeometryError, NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.models.vocabulary import Vocabulary, words_of
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.probes.visual_lens import NAMES_OF_OBJECTS, VisualLensProbe
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import size_for_boxes


@dataclass(frozen=True)
class Decoded:
    """The words of the image's tokens at every layer, the embedding first.

    Attributes:
        words: (layers + 1, tokens, top) the most probable token ids, the first one first.
        entropy: (layers + 1, tokens) of the distribution over the vocabulary, in bits.
    """

    words: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Target:
    """An object's patches, and which tokens of the vocabulary name it.

    Attributes:
        tokens: of its patches, numbers among the image's.
        names: (vocabulary) whether a token names it or one of its attributes.
        shuffled: (vocabulary) the same of another question's object, as a control; None where there is none.
    """

    tokens: Tensor
    names: Tensor
    shuffled: Tensor | None


def measure(probe: VisualLensProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `visual lens` for one question; see `Probe.measure`."""
    return visual_lens(
        context,
        question,
        top=probe.top,
        instructions=probe.instructions,
        instruction_positions=probe.instruction_positions,
        keep_words=question.in_detail,
    )


def visual_lens(
    context: ProbeContext,
    question: Question,
    *,
    top: int,
    instructions: Sequence[str],
    instruction_positions: Sequence[str],
    keep_words: bool,
) -> pl.DataFrame:
    """The shares of the image's tokens that decode to words, and to the correct words.

    Args:
        context: model and questions.
        question: the measured question; instructions and names that it lacks are skipped.
        top: number of words per token that are compared with names and attributes.
        instructions: correct (the question), wrong (the question of another image), none.
        instruction_positions: position of the instruction, after the image or before it.
        keep_words: whether the most probable word of every patch is kept, for the correct instruction.

    Returns:
        columns instruction, instruction_position, layer (−1 for the embedding), object, elsewhere, shuffled (percent of
        the objects' patches, of other patches, and of the objects' patches with another question's names, that have a
        name or an attribute among their `top` words; null if the question has no such object), entropy (bits),
        words (percent of tokens that decode to a word), agreement (percent of the tokens with the same most probable
        word as with the correct instruction), decoded (the word of each patch of the image's first view, or null).

    Raises:
        NotApplicableError: no instruction can be given.
    """
    vlm = context.image_model
    targets, others = _targets(context, question)
    grid = _grid(vlm.patch_maps, question.image) if keep_words else None
    parts = []
    for instruction, position, decoded, correct in _decoded(
        context, question, top, instructions, instruction_positions
    ):
        words = _patch_words(decoded, vlm.vocabulary, grid if instruction == "correct" else None)
        parts.append(
            _shares(decoded, correct, vlm.vocabulary, targets, others).with_columns(
                instruction=pl.lit(instruction), instruction_position=pl.lit(position), decoded=words
            )
        )
    if not parts:
        raise NotApplicableError("no instruction of the probe can be given")
    return pl.concat(parts)


def _decoded(
    context: ProbeContext,
    question: Question,
    top: int,
    instructions: Sequence[str],
    instruction_positions: Sequence[str],
) -> Iterator[tuple[str, str, Decoded, Decoded | None]]:
    """(instruction, position, its words, those with the correct instruction in this position)."""
    vlm, decoder = context.image_model, Decoder(context.image_model, top)
    # The correct instruction comes first, since the others are compared with it.
    order = sorted(instructions, key="correct wrong none".split().index)
    texts = list(_texts(context, question, order))
    for position in instruction_positions:
        correct: Decoded | None = None
        for instruction, text in texts:
            try:
                prompt = vlm.image_prompt(open_image(question.image), text, before=position == "before" and bool(text))
                decoded = decoder.decode(prompt)
            except PromptError as error:
                context.leave_out(question, f"{instruction} instruction {position} the image", str(error))
                continue
            correct = decoded if instruction == "correct" else correct
            yield instruction, position, decoded, correct


def _texts(context: ProbeContext, question: Question, instructions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(instruction, its text)."""
    for instruction in instructions:
        if instruction == "wrong":
            texts = (other.text for other in context.unrelated(question) if other.text != question.text)
            text = next(texts, None)
            if text is None:
                context.leave_out(question, "wrong instruction", "there is no other question on another image")
            else:
                yield instruction, text
        else:
            yield instruction, question.text if instruction == "correct" else ""


def _patch_words(decoded: Decoded, vocabulary: Vocabulary, grid: Tensor | None) -> pl.Series:
    """The most probable word of each patch, at every layer; nulls without a grid."""
    words: list[list[str] | None] = [None] * len(decoded.words)
    if grid is not None:
        words = [[vocabulary.texts[token] for token in layer] for layer in decoded.words[:, grid, 0].tolist()]
    return pl.Series(words, dtype=pl.List(pl.String))


class Decoder:
    """Decodes prompts; the result is reused if the next prompt begins with the same image states and the image cannot
    attend to the text after it."""

    def __init__(self, vlm: LanguageModel, top: int) -> None:
        self.vlm, self.top = vlm, top
        self.begin: Tensor | None = None
        self.decoded: Decoded | None = None

    def decode(self, prompt: Prompt) -> Decoded:
        """The words of a prompt's image tokens."""
        recording = self.vlm.record(prompt)
        end = int(prompt.positions("image")[-1]) + 1
        begin = recording.calls[0].hidden[:, :end]
        same = self.begin is not None and torch.equal(begin, self.begin) and not _attends_ahead(recording, end)
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
            words.append(self.vlm.read(layer, reader, in_float32=True))
        return Decoded(torch.stack(words), torch.cat(entropies).reshape(len(states), -1))


def _attends_ahead(recording: Recording, end: int) -> bool:
    """Whether any of the first `end` positions attends to a later one."""
    return recording.may_attend.attend_ahead(end)


def _image_states(recording: Recording, prompt: Prompt) -> Iterator[Tensor]:
    for states in recording.states():
        yield states[0, prompt.positions("image").to(states.device)]


def _targets(context: ProbeContext, question: Question) -> tuple[list[Target], Tensor | None]:
    """(for each object its patches and words, tokens of the patches that belong to none of the objects)."""
    vlm = context.image_model
    with_box = [(each, each.box) for each in question.objects if each.box is not None]
    try:
        if not with_box:
            raise GeometryError("none of the question's objects has a box")
        patch_map = vlm.patch_maps.find(size_for_boxes(question.image, question.image_size))
        patches = [patch_map.related([box]) for _, box in with_box]
    except GeometryError as error:
        context.leave_out(question, NAMES_OF_OBJECTS, str(error))
        return [], None
    other_names = _other_names(context, question)
    if not other_names:
        context.leave_out(question, "shuffled names", "no question on another image has an object of another name")
    shuffled = vlm.vocabulary.token_mask_for(other_names) if other_names else None
    targets = [
        Target(torch.tensor(tokens), vlm.vocabulary.token_mask_for(each.names), shuffled)
        for (each, _), tokens in zip(with_box, patches, strict=True)
    ]
    taken = {*patch_map.no_patch, *(token for tokens in patches for token in tokens)}
    return targets, torch.tensor([token for token in range(patch_map.tokens) if token not in taken], dtype=torch.long)


def _other_names(context: ProbeContext, question: Question) -> set[str]:
    """The words of an object of the next unrelated question, except those that this question's objects also have."""
    mine = words_of(name for each in question.objects for name in each.names)
    for other in context.unrelated(question):
        for each in other.objects:
            if each.box is not None and (words := words_of(each.names) - mine):
                return words
    return set()


def _grid(patch_maps: PatchMaps, image: str) -> Tensor | None:
    """The tokens of the patches of the view of all of the image, row by row; None if tokens are no patches."""
    try:
        patch_map = patch_maps.find(open_image(image).size)
    except GeometryError:
        return None
    return torch.from_numpy(patch_map.views[patch_map.whole].tokens.flatten())


def _shares(
    decoded: Decoded, correct: Decoded | None, vocabulary: Vocabulary, targets: Sequence[Target], others: Tensor | None
) -> pl.DataFrame:
    """A row per layer with the numeric columns of `visual_lens`."""

    def percent(flags: Tensor) -> list[float]:
        return (100 * flags.double().mean(dim=1)).tolist()

    def named(tokens: Tensor, names: Tensor) -> Tensor:
        return names[decoded.words[:, tokens]].any(dim=2)

    nothing: list[float | None] = [None] * len(decoded.words)
    shuffled = [named(target.tokens, target.shuffled) for target in targets if target.shuffled is not None]
    first = decoded.words[:, :, 0]
    comparable = correct is not None and correct.words.shape == decoded.words.shape
    flags_of = {
        "object": [named(target.tokens, target.names) for target in targets],
        # The words of other patches are compared with the names of each object in turn.
        "elsewhere": [named(others, target.names) for target in targets] if others is not None and len(others) else [],
        "shuffled": shuffled,
        "words": [vocabulary.is_word[first]],
        "agreement": [first == correct.words[:, :, 0]] if correct is not None and comparable else [],
    }  # fmt: skip
    return pl.DataFrame(
        {
            "layer": range(-1, len(decoded.words) - 1),
            "entropy": decoded.entropy.double().mean(dim=1).tolist(),
            **{name: percent(torch.cat(parts, dim=1)) if parts else nothing for name, parts in flags_of.items()},
        },
        schema_overrides={"layer": pl.Int32} | dict.fromkeys(flags_of, pl.Float64),
    )
