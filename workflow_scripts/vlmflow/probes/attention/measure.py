"""What looks at what: attention weights and norms between segments, and as maps over the picture; [thesis]."""

from collections.abc import Sequence

import polars as pl

from vlmflow.edges import Edge
from vlmflow.models.model import LanguageModel
from vlmflow.prompts.build import Prompt


def attention(vlm: LanguageModel, prompt: Prompt, edges: Sequence[str]) -> pl.DataFrame:
    """How much each edge's target looks at its source, in every layer.

    Returns:
        columns edge, layer, weight (percent of the target's attention, mean over heads and the target's positions),
        norm (of what comes from each position of the source, added up), share (percent of the norms from all
        positions); see `looks`.
    """
    parsed = [Edge.parse(edge) for edge in edges]
    found = vlm.attention_stats(prompt, list(dict.fromkeys(edge.target for edge in parsed)))
    parts = []
    for edge in parsed:
        look, sources = found[edge.target], prompt.positions(edge.source)
        values = {"weight": 100 * look.weights, "norm": look.norms, "share": 100 * look.shares}
        parts.append(
            pl.DataFrame(
                {
                    "edge": str(edge),
                    "layer": range(len(look.weights)),
                    **{name: value[:, sources].sum(dim=1).double().numpy() for name, value in values.items()},
                },
                schema_overrides={"layer": pl.Int32},
            )
        )
    return pl.concat(parts)
