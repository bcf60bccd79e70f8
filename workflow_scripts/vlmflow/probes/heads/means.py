"""The mean output of each head over the positions of a segment, in questions about other images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmflow.errors import LASTING, NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.heads import HeadsProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

# For each layer: (heads, head width) the mean outputs; None for a layer without attention.
LayerMeans = Sequence[Tensor | None]
MEANS = "means"


@dataclass(frozen=True)
class QuestionMeans:
    """The mean outputs of one question's heads, by segment; without the segments that its prompt does not have."""

    image_id: str
    of_segment: dict[str, LayerMeans]


def mean_outputs(vlm: LanguageModel, prompt: Prompt, segment: str) -> LayerMeans:
    """The mean outputs of the heads over the segment's positions, in float32 or wider, on the CPU.

    Raises:
        PromptError: the prompt does not have the segment.
    """
    states = vlm.site_states(prompt, "head", prompt.positions(segment))
    return [
        None if each is None else each.to(torch.promote_types(each.dtype, torch.float32)).mean(dim=0).cpu()
        for each in states
    ]


def means_over_others(probe: HeadsProbe, context: ProbeContext, question: Question, segment: str) -> LayerMeans:
    """The mean outputs of the heads over the questions about other images, among those of which the probe takes means.

    Raises:
        NotApplicableError: no such question has the segment.
    """
    if MEANS not in context.cache:
        context.keep(MEANS, _of_averaged_questions(probe, context))
    known: list[QuestionMeans] = context.cache[MEANS]
    others = [
        each.of_segment[segment] for each in known if each.image_id != question.image_id and segment in each.of_segment
    ]
    if not others:
        raise NotApplicableError(f"no question about another image has the segment {segment!r}, so there is no mean")
    return [
        None if each is None else torch.stack([layers[number] for layers in others]).mean(dim=0)  # type: ignore[misc]
        for number, each in enumerate(others[0])
    ]


def _of_averaged_questions(probe: HeadsProbe, context: ProbeContext) -> list[QuestionMeans]:
    """The means of each question that can be read; the others are rows of `skipped` when they are measured."""
    found = []
    for question in probe.averaged(context.questions):
        try:
            prompt = context.prompt(question)
            found.append(QuestionMeans(question.image_id, _of_segments(probe, context.vlm, prompt)))
        except LASTING:
            continue
    return found


def _of_segments(probe: HeadsProbe, vlm: LanguageModel, prompt: Prompt) -> dict[str, LayerMeans]:
    means: dict[str, LayerMeans] = {}
    for segment in probe.mean:
        try:
            means[segment] = mean_outputs(vlm, prompt, segment)
        except PromptError:
            continue
    return means
