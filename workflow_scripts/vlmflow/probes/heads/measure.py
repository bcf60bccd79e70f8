"""Single heads: an edge knocked out in one of them, or the output of one replaced by zero or by its mean."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from vlmflow.edges import EdgeGroup, window_layers
from vlmflow.engine.interventions import HeadAblation, Intervention, Together
from vlmflow.engine.modules import attention_layer, head_count, key_head_count
from vlmflow.errors import NotApplicableError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext, left_out
from vlmflow.probes.effects import (
    FollowedAnswer,
    effects,
    first_sub_word,
    followed_tokens,
    options_measured,
    own_first_sub_word,
)
from vlmflow.probes.heads import HeadsProbe, mean_name, zero_name
from vlmflow.probes.knockout.measure import edge_knockouts
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

from .means import LayerMeans, means_over_others

# Intervention, layer, first head of a group.
Key = tuple[str, int, int]


def measure(probe: HeadsProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `heads` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    edges = context.applicable_edges(question, prompt, probe.edge_groups, required=False)
    zero: list[str] = []
    means: dict[str, LayerMeans] = {}
    for segment in probe.zero:
        with left_out(context, question, zero_name(segment)):
            prompt.positions(segment)
            zero.append(segment)
    for segment in probe.mean:
        with left_out(context, question, mean_name(segment)):
            prompt.positions(segment)
            means[segment] = means_over_others(probe, context, question, segment)
    if not edges and not zero and not means:
        raise NotApplicableError("no intervention of the probe applies to this question")
    answer = followed_tokens(context.vlm, question, probe.follow)
    followed = first_sub_word(prompt, answer, options_measured(context, question))
    together = probe.group == "key head"
    return heads(context.vlm, prompt, edges, zero, probe.window, followed, means=means, together=together)


def heads(
    vlm: LanguageModel,
    prompt: Prompt,
    edges: Sequence[str] = (),
    zero: Sequence[str] = (),
    window: int = 1,
    followed: FollowedAnswer | None = None,
    *,
    means: Mapping[str, LayerMeans] | None = None,
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
        means: segment → for each layer the (heads, head width) that replace the heads' outputs at its positions.
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
    zeros = _Replaced(len(vlm.layers), recording.recurrent)
    for segment in zero:
        made += _ablations(zero_name(segment), prompt.positions(segment), window, groups, zeros)
    for segment, of_layers in (means or {}).items():
        replaced = replace(zeros, means=of_layers)
        made += _ablations(mean_name(segment), prompt.positions(segment), window, groups, replaced)
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


@dataclass(frozen=True)
class _Replaced:
    """What replaces the outputs of heads: `means` of each layer, or zeros."""

    layers: int
    recurrent: frozenset[int]
    means: LayerMeans | None = None

    def ablation(self, heads: Tensor, positions: Tensor, layer: int) -> HeadAblation:
        """The replacement of some heads' outputs in one layer."""
        mean = None if self.means is None else self.means[layer]
        return HeadAblation(heads, positions, layer, layer + 1, None if mean is None else mean[heads])


def _ablations(
    name: str, positions: Tensor, window: int, groups: Sequence[Tensor], replaced: _Replaced
) -> Iterator[tuple[Key, Intervention]]:
    for layer in range(replaced.layers):
        spans = [each for each in window_layers(layer, window, replaced.layers) if each not in replaced.recurrent]
        for changed in groups:
            parts = [replaced.ablation(changed, positions, each) for each in spans]
            if parts:
                yield (name, layer, int(changed[0])), parts[0] if len(parts) == 1 else Together(parts)
