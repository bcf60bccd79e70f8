"""Single heads: the effect on the answer when an edge is knocked out in one head, or when a head's output is zero."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.edges import EdgeGroup
from vlmflow.models.size import Size
from vlmflow.probes.base import SampleProbe, parse_edges
from vlmflow.probes.cost import REPLAYED, Work, forward, replayed_shares
from vlmflow.probes.measures import Follow, effect_averaging, effect_columns
from vlmflow.settings import EdgeGroups, Window, each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, WINDOW

if TYPE_CHECKING:  # it imports torch
    from vlmflow.models.vision_language import LanguageModel

# The segments at whose positions the output of a head is replaced.
Targets = Literal["last", "question", "template", "options", "objects"]


class HeadsProbe(SampleProbe):
    """Single heads of each layer: an edge knocked out in a head alone, or the head's output set to zero."""

    table: ClassVar = Table(
        "heads",
        ABOUT
        | {
            "intervention": Column(
                pl.String, "an edge that is knocked out, or zero -> the segment whose output is zero"
            )
        }
        | WINDOW
        | {
            "head": Column(pl.Int32, "from 0; the first one of a group of heads"),
            "key_head": Column(pl.Int32, "from 0: heads with the same number share their keys and values"),
        }
        | effect_columns("p_after"),
    )
    averaging: ClassVar[Averaging] = effect_averaging(
        ("intervention", "window", "head", "layer"),
        line="intervention",
        further={
            "key_head": (Column(pl.Int32, "heads with the same number share their keys"), pl.col("key_head").first())
        },
        halves=True,
    )

    kind: Literal["heads"]
    edges: EdgeGroups | None = Field(None, description="Edges that are knocked out in a head alone; as in a knockout.")
    zero: Annotated[list[Targets], AfterValidator(each_once("segment"))] = Field(
        default_factory=list, description="Segments at whose positions the output of a head is set to zero."
    )
    window: Window = Field(1, description="Number of layers around each layer, odd, in which the head is changed.")
    group: Literal["head", "key head"] = Field(
        "head", description="head: each head by itself; key head: all heads that share their keys, together."
    )
    follow: Follow = Field(
        "own",
        description="The answer whose first sub-word is measured: the model's own, the correct, or the false option.",
    )

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """See `Probe.edge_groups`."""
        return parse_edges(self.edges)

    @property
    def interventions(self) -> list[str]:
        """The names of the interventions."""
        return [*(str(group) for group in self.edge_groups), *(zero_name(segment) for segment in self.zero)]

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        if column == "window":
            return [self.window]
        return self.interventions if column == "intervention" else super().values_measured(column)

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {"window": self.window}

    def check_model(self, name: str, vlm: "LanguageModel") -> None:
        """See `Probe.check_model`; its heads must be found."""
        from vlmflow.engine.modules import attention_layer, find_output_projection, head_count
        from vlmflow.errors import InterventionError, ModelError

        super().check_model(name, vlm)
        try:
            layer = attention_layer(vlm.layers)
            head_count(layer)
            if self.zero:
                find_output_projection(layer)
        except InterventionError as error:
            raise ModelError(f"probes.{name}: {error}") from error

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        edges = [max(replayed_shares([edge], size) for edge in group.edges) for group in self.edge_groups]
        shares = [
            *edges,
            *(replayed_shares([EdgeGroup.parse(f"image -> {each}").edges[0]], size) for each in self.zero),
        ]
        rows = size.layers * size.heads * sum(shares)
        return Work(forward() + rows / 2, 3 + rows * size.tokens / REPLAYED)

    @model_validator(mode="after")
    def _something_is_changed(self) -> "HeadsProbe":
        if not self.interventions:
            raise ValueError("edges, zero: give at least one of the two; without them no head is changed")
        return self


def zero_name(segment: str) -> str:
    """The name of the intervention that sets a head's output at a segment to zero."""
    return f"zero at {segment}"
