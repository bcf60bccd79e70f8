"""Attention knockout: how much the answer's probability changes when an edge is blocked; [flow] section 3.2."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from vlmflow import replay
from vlmflow.edges import Edge, window_layers
from vlmflow.prompts import Prompt

if TYPE_CHECKING:
    from vlmflow.models import VisionLanguageModel


def knockout(vlm: "VisionLanguageModel", prompt: Prompt, edges: Sequence[str], window: int) -> pl.DataFrame:
    """Every edge, knocked out in the window around every layer; see `VisionLanguageModel.knockout`.

    Raises:
        ValueError: an edge or the window is no such thing.
        PromptError: the prompt does not have a segment of an edge.
    """
    recording = vlm.record(prompt)
    p_base, token = vlm.logits(recording.output[0, -1]).softmax(-1).max(-1)
    layers = len(vlm.layers)
    parsed = [Edge.parse(edge) for edge in edges]
    knockouts = [k for edge in parsed for k in edge_knockouts(edge, prompt, window, layers)]
    p_knockout = vlm.logits(vlm.replay(recording, knockouts)).softmax(-1)[:, token]
    if not p_knockout.isfinite().all():
        raise replay.ReplayError("a probability under a knockout is not a finite number; another dtype may help")
    return pl.DataFrame(
        {
            "edge": [str(edge) for edge in parsed for _ in range(layers)],
            "window": window,
            "layer": list(range(layers)) * len(edges),
            "p_base": p_base.item(),
            "p_knockout": p_knockout.tolist(),
        },
        schema_overrides={"window": pl.Int32, "layer": pl.Int32},
    ).with_columns(change=(pl.col("p_knockout") - pl.col("p_base")) / pl.col("p_base") * 100)


def edge_knockouts(edge: Edge, prompt: Prompt, window: int, layers: int) -> Iterator[replay.Knockout]:
    """The edge's knockout around each layer, from the first to the last."""
    sources, targets = prompt.positions(edge.source), prompt.positions(edge.target)
    for layer in range(layers):
        span = window_layers(layer, window, layers)
        yield replay.Knockout(sources, targets, span.start, span.stop)
