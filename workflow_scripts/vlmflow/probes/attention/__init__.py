"""Attention weights and norms between segments; [thesis]."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.analysis.summaries import Averaging
from vlmflow.edges import EdgeGroup
from vlmflow.models.size import Size
from vlmflow.probes.base import AnyAnswerProbe, parse_edges
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, weighing_attention
from vlmflow.settings import Edges
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, LAYER

ATTENTION_EDGES = [
    "image -> image",
    "image -> question",
    "question -> question",
    "image -> template",
    "question -> template",
    "image -> last",
    "question -> last",
    "template -> last",
]


class AttentionProbe(AnyAnswerProbe):
    """Attention between segments at every layer, by weights and by norms of the values that the weights carry."""

    chapter: ClassVar = Chapter.ATTENTION
    table: ClassVar = Table(
        "attention",
        ABOUT
        | {"edge": Column(pl.String, "source -> target")}
        | LAYER
        | {
            "weight": Column(pl.Float64, "percent of the target's attention, mean over heads and positions"),
            "norm": Column(pl.Float64, "of what the target takes from the source's positions, added up"),
            "share": Column(pl.Float64, "of the norms from all positions, in percent"),
            "concentration": Column(
                pl.Float64, "percent of the norm that the source's strongest 5 % of positions have", nullable=True
            ),
        },
    )
    averaging: ClassVar = Averaging(
        by=("edge", "quantity", "layer"), quantities=("weight", "norm", "share", "concentration"), line="edge"
    )

    kind: Literal["attention"]
    edges: Edges = Field(ATTENTION_EDGES, description="Each as 'source -> target'; or all.")

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """See `Probe.edge_groups`."""
        return parse_edges(self.edges)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return weighing_attention()
