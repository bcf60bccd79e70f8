"""Attention knockout: how much the answer's probability changes when an edge is blocked; [flow] section 3.2."""

from collections.abc import Collection, Iterator, Sequence

import polars as pl
import torch
from torch import Tensor

from vlmflow.edges import Cut, EdgeGroup, cut_layers
from vlmflow.engine.interventions import AttentionKnockout, Intervention, Together
from vlmflow.errors import NotApplicableError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.effects import (
    FollowedAnswer,
    all_sub_words,
    effects,
    first_sub_word,
    followed_tokens,
    last_sub_word,
    options_measured,
    own_first_sub_word,
)
from vlmflow.probes.knockout import KnockoutProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt
from vlmflow.settings import window_size


def measure(probe: KnockoutProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `knockout` for one question; see `Probe.measure`."""
    vlm, prompt = context.vlm, context.prompt(question)
    answer = followed_tokens(vlm, question, probe.follow)
    edges = context.applicable_edges(question, prompt, probe.edge_groups)
    if probe.sub_words == "several" and len(answer) < 2:
        raise NotApplicableError("its answer has one sub-word, and the probe is about answers of several")
    if probe.token == "last":
        followed = last_sub_word(vlm, prompt, answer)
    elif probe.token == "all":
        followed = all_sub_words(vlm, prompt, answer, options_measured(context, question))
    else:
        followed = first_sub_word(prompt, answer, options_measured(context, question))
    rows = knockout(
        vlm,
        prompt,
        edges,
        [window_size(window, len(vlm.layers)) if window else 0 for window in probe.windows],
        followed,
        cut=probe.cut,
        every_sub_word=probe.sub_words_blocked == "every",
    )
    return rows.with_columns(sub_words=pl.lit(len(answer), dtype=pl.Int32))


def knockout(
    vlm: LanguageModel,
    prompt: Prompt,
    edges: Sequence[str],
    windows: int | Sequence[int],
    followed: FollowedAnswer | None = None,
    *,
    cut: Cut = "around",
    every_sub_word: bool = False,
) -> pl.DataFrame:
    """The effect of every edge, window and layer on the answer; see `vlmflow.notebook`.

    Args:
        vlm: the model.
        prompt: of this model.
        edges: each as "source -> target", or several that are knocked out together, with " + " between them.
        windows: number of layers, odd; one number or several.
        followed: the answer that is measured; by default the first token that the model generates.
        cut: the layers of a window around each layer, or those that it determines otherwise.
        every_sub_word: whether an edge to `last` is blocked to every position that predicts a sub-word, as in the
            published code, and not only to the one that predicts the last.

    Raises:
        ValueError: an edge or a window is not valid.
        PromptError: the prompt does not have a segment of an edge.
        InterventionError: the answer has no tokens.
        NotApplicableError: the model has no layers with attention in which an edge could be knocked out.
    """
    recording = vlm.record(prompt if followed is None else followed.prompt)
    if followed is None:
        followed = own_first_sub_word(vlm, prompt, recording)
    last = torch.arange(len(prompt) - 1, len(followed.prompt)) if every_sub_word else None
    rows = [
        (str(edge), window, layer, each)
        for edge in map(EdgeGroup.parse, edges)
        for window in ([windows] if isinstance(windows, int) else windows)
        for layer, each in edge_knockouts(
            edge, followed.prompt, window, len(vlm.layers), recording.recurrent, last=last, cut=cut
        )
    ]
    if not rows:
        raise NotApplicableError("no layer with attention is left in which an edge could be knocked out")
    # At both ends of a model, windows of different sizes may be cut to the same layers.
    spans = {(edge, _spans_of(each)): each for edge, _, _, each in rows}
    found = effects(vlm, recording, list(spans.values()), followed, after="p_knockout")
    index = {span: number for number, span in enumerate(spans)}
    schema = {"edge": pl.String, "window": pl.Int32, "layer": pl.Int32}
    named = pl.DataFrame([row[:3] for row in rows], schema=schema, orient="row")
    of_rows = [index[edge, _spans_of(each)] for edge, _, _, each in rows]
    return pl.concat([named, found[of_rows]], how="horizontal")


def _spans_of(intervention: Intervention) -> tuple[tuple[int, int], ...]:
    return tuple((part.start, part.stop) for part in intervention.parts)


def edge_knockouts(
    group: EdgeGroup,
    prompt: Prompt,
    window: int,
    layers: int,
    recurrent: Collection[int] = (),
    *,
    last: Tensor | None = None,
    cut: Cut = "around",
    heads: Tensor | None = None,
) -> Iterator[tuple[int, Intervention]]:
    """(layer, knockout of the edges in the layers that it determines), from the first layer to the last; without those
    for which no layer is left that has attention.

    Args:
        group: the edges, between segments of the prompt.
        prompt: of the model.
        window: number of layers, odd.
        layers: number of the model's layers.
        recurrent: numbers of those without attention.
        last: the positions that an edge to `last` has as its target; by default the last one.
        cut: which layers a layer determines.
        heads: those in which the edges are knocked out; by default all.
    """
    ends = []
    for edge in group.edges:
        targets = last if last is not None and edge.target == "last" else prompt.positions(edge.target)
        ends.append((prompt.positions(edge.source), targets))
    for layer in range(layers):
        spans = [span for span in cut_layers(cut, layer, window, layers) if not set(span) <= set(recurrent)]
        knockouts = [AttentionKnockout(*each, span.start, span.stop, heads) for each in ends for span in spans]
        if knockouts:
            yield layer, knockouts[0] if len(knockouts) == 1 else Together(knockouts)
