"""Attention knockout: how much the answer's probability changes when an edge is blocked; [flow] section 3.2."""

from collections.abc import Collection, Iterator, Sequence

import polars as pl
import torch
from torch import Tensor

from vlmflow.edges import Edge, window_layers
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.errors import InterventionError, NotApplicableError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.knockout import KnockoutProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt
from vlmflow.settings import window_size


def measure(probe: KnockoutProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `knockout` for one question; see `Probe.measure`."""
    prompt, answer = context.prompt(question), question.token_ids
    edges = context.applicable_edges(question, prompt, probe.parsed_edges)
    if probe.sub_words == "several" and len(answer) < 2:
        raise NotApplicableError("its answer has one sub-word, and the probe is about answers of several")
    windows = [window_size(window, len(context.vlm.layers)) for window in probe.window]
    rows = knockout(
        context.vlm,
        prompt,
        edges,
        windows,
        answer if probe.token == "last" else None,
        every_sub_word=probe.sub_words_blocked == "every",
    )
    return rows.with_columns(sub_words=pl.lit(len(answer), dtype=pl.Int32))


def knockout(
    vlm: LanguageModel,
    prompt: Prompt,
    edges: Sequence[str],
    windows: int | Sequence[int],
    answer: Sequence[int] | None = None,
    *,
    every_sub_word: bool = False,
) -> pl.DataFrame:
    """The change of the answer's probability for every edge, window and layer; see `vlmflow.notebook`.

    Args:
        vlm: the model.
        prompt: of this model.
        edges: each as "source -> target".
        windows: number of layers, odd; one number or several.
        answer: token ids, to measure its last sub-word ([flow] appendix C) and not the first generated token.
        every_sub_word: whether an edge to `last` is blocked to every position that predicts a sub-word, as in the
            published code, and not only to the one that predicts the last.

    Raises:
        ValueError: an edge or a window is not valid.
        PromptError: the prompt does not have a segment of an edge.
        InterventionError: the answer has no tokens.
    """
    last: Tensor | None = None
    if answer is not None:
        prompt, predicting = _answered(vlm, prompt, answer)
        last = predicting if every_sub_word else None
    recording = vlm.record(prompt)
    probabilities = vlm.logits(recording.output[0, -1]).softmax(-1)
    token = int(probabilities.argmax()) if answer is None else answer[-1]
    rows = [
        (str(edge), window, layer, each)
        for edge in map(Edge.parse, edges)
        for window in ([windows] if isinstance(windows, int) else windows)
        for layer, each in edge_knockouts(edge, prompt, window, len(vlm.layers), recording.recurrent, last)
    ]
    # At both ends of a model, windows of different sizes may be cut to the same layers.
    spans = {(edge, each.start, each.stop): each for edge, _, _, each in rows}
    states = vlm.replay(recording, list(spans.values()))[:, 0]
    after = vlm.read(states, lambda logits: logits.softmax(-1)[:, token])
    p_knockout = dict(zip(spans, after.tolist(), strict=True))
    found = [(edge, window, layer, p_knockout[edge, each.start, each.stop]) for edge, window, layer, each in rows]
    return _changes(found, probabilities[token].item())


def _changes(found: Sequence[tuple[str, int, int, float]], base: float) -> pl.DataFrame:
    """The rows of (edge, window, layer, p_knockout), with the intact probability and the change in percent of it."""
    schema = {"edge": pl.String, "window": pl.Int32, "layer": pl.Int32, "p_knockout": pl.Float64}
    rows = pl.DataFrame(found, schema=schema, orient="row").with_columns(p_base=pl.lit(base))
    change = (pl.col("p_knockout") - pl.col("p_base")) / pl.col("p_base") * 100
    return rows.select("edge", "window", "layer", "p_base", "p_knockout", change=change)


def _answered(vlm: LanguageModel, prompt: Prompt, answer: Sequence[int]) -> tuple[Prompt, Tensor]:
    """(the prompt with the answer up to its last sub-word behind it, the positions that predict its sub-words)."""
    if not answer:
        raise InterventionError("the model's answer is empty, so it has no last sub-word")
    longer = vlm.continue_prompt(prompt, answer[:-1])
    return longer, torch.arange(len(prompt) - 1, len(longer))


def edge_knockouts(
    edge: Edge,
    prompt: Prompt,
    window: int,
    layers: int,
    recurrent: Collection[int] = (),
    last: Tensor | None = None,
) -> Iterator[tuple[int, AttentionKnockout]]:
    """(layer, knockout of the edge in the window around it), from the first layer to the last; without the layers
    around which no layer has attention.

    Args:
        edge, prompt: two segments of the prompt.
        window: number of layers, odd.
        layers: number of the model's layers.
        recurrent: numbers of those without attention.
        last: the positions that an edge to `last` has as its target; by default the last one.
    """
    sources, targets = prompt.positions(edge.source), prompt.positions(edge.target)
    if last is not None and edge.target == "last":
        targets = last
    for layer in range(layers):
        span = window_layers(layer, window, layers)
        if not set(span) <= set(recurrent):
            yield layer, AttentionKnockout(sources, targets, span.start, span.stop)
