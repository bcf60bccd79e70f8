"""Single heads: an edge knocked out in one of them, or the output of one set to zero."""

from collections.abc import Iterator, Sequence

import polars as pl
import torch
from torch import Tensor

from vlmflow.edges import EdgeGroup, window_layers
from vlmflow.engine.interventions import HeadAblation, Intervention, Together
from vlmflow.engine.modules import attention_layer, head_count, key_head_count
from vlmflow.errors import NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.effects import (
    FollowedAnswer,
    effects,
    first_sub_word,
    followed_tokens,
    options_measured,
    own_first_sub_word,
)
from vlmflow.probes.heads import HeadsProbe, zero_name
from vlmflow.probes.knockout.measure import edge_knockouts
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

# Intervention, layer, first head of a group.
Key = tuple[str, int, int]


def measure(probe: HeadsProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `heads` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    edges = context.applicable_edges(question, prompt, probe.edge_groups, required=not probe.zero)
    segments = []
    for segment in probe.zero:
        try:
            prompt.positions(segment)
            segments.append(segment)
        except PromptError as error:
            context.leave_out(question, zero_name(segment), str(error))
    if not edges and not segments:
        raise NotApplicableError("no intervention of the probe applies to this question")
    answer = followed_tokens(context.vlm, question, probe.follow)
    followed = first_sub_word(prompt, answer, options_measured(context, question))
    return heads(context.vlm, prompt, edges, segments, probe.window, followed, together=probe.group == "key head")


def heads(
    vlm: LanguageModel,
    prompt: Prompt,
    edges: Sequence[str] = (),
    zero: Sequence[str] = (),
    window: int = 1,
    followed: FollowedAnswer | None = None,
    *,
    together: bool = False,
) -> pl.DataFrame:
    """The effect on the answer of each head of each layer.

    Args:
        vlm: the model.
        prompt: of this model.
        edges: each as "source -> target"; it is knocked out in one head alone.
        zero: segments, at whose positions the output of one head is zero.
        window: number of layers around each layer, odd, in which the head with this number is changed.
        followed: the answer that is measured; by default the first token that the model generates.
        together: whether the heads that share their keys are changed together.

    Raises:
        ValueError: an edge or the window is not valid.
        PromptError: the prompt does not have a segment.
        InterventionError: the heads of this model are not found.
    """
    recording = vlm.record(prompt)
    if followed is None:
        followed = own_first_sub_word(vlm, prompt, recording)
    layer = attention_layer(vlm.layers)
    count, keys = head_count(layer), key_head_count(layer)
    sharing = count // keys
    groups = torch.arange(count).split(sharing if together else 1)
    made: list[tuple[Key, Intervention]] = []
    for edge in edges:
        made += _knockouts(vlm, prompt, edge, window, groups, recording.recurrent)
    for segment in zero:
        made += _ablations(vlm, prompt, segment, window, groups, recording.recurrent)
    rows = [(name, window, layer, head, head // sharing) for (name, layer, head), _ in made]
    schema = {"intervention": pl.String, "window": pl.Int32, "layer": pl.Int32, "head": pl.Int32, "key_head": pl.Int32}
    found = effects(vlm, recording, [each for _, each in made], followed)
    return pl.concat([pl.DataFrame(rows, schema=schema, orient="row"), found], how="horizontal")


def _knockouts(
    vlm: LanguageModel, prompt: Prompt, edge: str, window: int, groups: Sequence[Tensor], recurrent: frozenset[int]
) -> Iterator[tuple[Key, Intervention]]:
    group = EdgeGroup.parse(edge)
    for changed in groups:
        for layer, each in edge_knockouts(group, prompt, window, len(vlm.layers), recurrent, heads=changed):
            yield (str(group), layer, int(changed[0])), each


def _ablations(
    vlm: LanguageModel, prompt: Prompt, segment: str, window: int, groups: Sequence[Tensor], recurrent: frozenset[int]
) -> Iterator[tuple[Key, Intervention]]:
    positions = prompt.positions(segment)
    for layer in range(len(vlm.layers)):
        spans = [each for each in window_layers(layer, window, len(vlm.layers)) if each not in recurrent]
        for changed in groups:
            parts = [HeadAblation(changed, positions, each, each + 1) for each in spans]
            if parts:
                name = zero_name(segment)
                yield (name, layer, int(changed[0])), parts[0] if len(parts) == 1 else Together(parts)
