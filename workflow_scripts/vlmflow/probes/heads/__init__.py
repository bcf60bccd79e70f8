"""Single heads: the effect on the answer when an edge is knocked out in one head, or when a head's output is zero."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.data.sampling import in_random_order
from vlmflow.edges import Edge, EdgeGroup
from vlmflow.models.size import Size
from vlmflow.own_segments import NoSinks
from vlmflow.probes.base import ProbeTables, SampleProbe, parse_edges
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import REPLAYED, Work, forward, replayed_shares
from vlmflow.probes.measures import Follow, effect_averaging, effect_columns
from vlmflow.settings import EdgeGroups, Window, each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, WINDOW

if TYPE_CHECKING:  # these import torch
    from vlmflow.models.vision_language import LanguageModel
    from vlmflow.probes.question import Question


class HeadsProbe(SampleProbe):
    """Single heads of each layer: an edge knocked out in a head alone, or the head's output replaced by zero or by its
    mean over other questions."""

    chapter: ClassVar = Chapter.KNOCKOUT
    table: ClassVar = Table(
        "heads",
        ABOUT
        | {
            "intervention": Column(
                pl.String, "an edge that is knocked out; or zero at, or mean at, the segment whose output is replaced"
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
        across=("head",),
    )

    kind: Literal["heads"]
    edges: EdgeGroups | None = Field(None, description="Edges that are knocked out in a head alone; as in a knockout.")
    zero: Annotated[list[NoSinks], AfterValidator(each_once("segment"))] = Field(
        default_factory=list, description="Segments at whose positions the output of a head is set to zero."
    )
    mean: Annotated[list[NoSinks], AfterValidator(each_once("segment"))] = Field(
        default_factory=list,
        description="Segments at whose positions the output of a head is replaced by its mean over these positions of "
        "questions about other images.",
    )
    mean_over: int = Field(32, ge=1, description="Number of questions per task over which means are taken; for mean.")
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
    def segments_named(self) -> list[str]:
        """See `Probe.segments_named`."""
        return [*super().segments_named, *self.zero, *self.mean]

    @property
    def interventions(self) -> list[str]:
        """The names of the interventions."""
        edges = [str(group) for group in self.edge_groups]
        return [*edges, *map(zero_name, self.zero), *map(mean_name, self.mean)]

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
            if self.zero or self.mean:
                find_output_projection(layer)
        except InterventionError as error:
            raise ModelError(f"probes.{name}: {error}") from error

    @property
    def uses_seed(self) -> bool:
        """See `Probe.uses_seed`; the order of questions decides over which means are taken."""
        return super().uses_seed or bool(self.mean)

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """See `Probe.columns`."""
        return super().columns(in_random_order(rows, seed) if self.mean else rows, tables, seed)

    @property
    def cache_size(self) -> int:
        """See `Probe.cache_size`: the outputs of which means are taken."""
        return 1 if self.mean else 0

    def others(self, questions: Sequence["Question"]) -> Mapping[str, Sequence["Question"]]:
        """See `Probe.others`."""
        averaged = self.averaged(questions)
        return {question.id: averaged for question in questions} if averaged else {}

    def averaged(self, questions: Sequence["Question"]) -> list["Question"]:
        """The questions of a task over which means are taken."""
        return list(questions[: self.mean_over]) if self.mean else []

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        edges = [max(replayed_shares([edge], size) for edge in group.edges) for group in self.edge_groups]
        shares = [
            *edges,
            *(replayed_shares([Edge("image", each)], size) for each in self.zero + self.mean),
        ]
        rows = size.layers * size.heads * sum(shares)
        means = min(self.mean_over, questions) / max(1, questions) if self.mean else 0.0
        return Work(forward() * (1 + means) + rows / 2, 3 + means + rows * size.tokens / REPLAYED)

    @model_validator(mode="after")
    def _something_is_changed(self) -> "HeadsProbe":
        if not self.interventions:
            raise ValueError("edges, zero, mean: give at least one of them; without them no head is changed")
        return self


def mean_name(segment: str) -> str:
    """The name of the intervention that replaces a head's output at a segment by its mean."""
    return f"mean at {segment}"


def zero_name(segment: str) -> str:
    """The name of the intervention that sets a head's output at a segment to zero."""
    return f"zero at {segment}"
