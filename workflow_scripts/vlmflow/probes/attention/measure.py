"""Attention weights and norms between segments; [thesis]."""

import math
from collections.abc import Sequence

import polars as pl
from torch import Tensor

from vlmflow.edges import Edge
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.attention import AttentionProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

STRONGEST = 0.05  # the share of a source's positions, at least one, whose part of its norm is the concentration


def measure(probe: AttentionProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `attention` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    return attention(context.vlm, prompt, context.applicable_edges(question, prompt, probe.edge_groups))


def attention(vlm: LanguageModel, prompt: Prompt, edges: Sequence[str]) -> pl.DataFrame:
    """How much each edge's target attends to its source, in every layer.

    Args:
        vlm: the model.
        prompt: of this model.
        edges: each as "source -> target".

    Returns:
        columns edge, layer, weight (percent of the target's attention, mean over heads and the target's positions),
        norm (sum over the source's positions of the norm of the values that the target takes from each), share
        (percent of the norms from all positions), concentration (percent of `norm` that the strongest 5 % of the
        source's positions have; null where the norm is 0); see `vlmflow.engine.attention_stats`.
    """
    parsed = [Edge.parse(edge) for edge in edges]
    stats = vlm.attention_stats(prompt, list(dict.fromkeys(edge.target for edge in parsed)))
    parts = []
    for edge in parsed:
        own, sources = stats[edge.target], prompt.positions(edge.source)
        values = {"weight": 100 * own.weights, "norm": own.norms, "share": 100 * own.shares}
        parts.append(
            pl.DataFrame(
                {
                    "edge": str(edge),
                    "layer": own.numbers,
                    **{name: value[:, sources].sum(dim=1).double().numpy() for name, value in values.items()},
                    "concentration": _concentration(own.norms[:, sources]),
                },
                schema_overrides={"layer": pl.Int32, "concentration": pl.Float64},
            )
        )
    return pl.concat(parts)


def _concentration(norms: Tensor) -> list[float | None]:
    """For each layer, the percentage of the norms, (layers, positions), that the strongest positions have."""
    strongest = norms.topk(math.ceil(STRONGEST * norms.shape[1]), dim=1).values.double().sum(dim=1)
    both = zip(strongest.tolist(), norms.double().sum(dim=1).tolist(), strict=True)
    return [100 * part / total if total > 0 else None for part, total in both]
