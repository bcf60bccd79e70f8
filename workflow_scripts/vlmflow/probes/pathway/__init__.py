"""What suffices: the answers that a model still gives when all edges are blocked but some; [flow] figure 1."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import polars as pl
from pydantic import Discriminator, Field, Tag, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.data.sampling import in_random_order
from vlmflow.edges import EdgeGroup
from vlmflow.models.size import Size
from vlmflow.probes.base import Probe, ProbeTables, parse_edges
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import REPLAYED, Work, forward, text_share
from vlmflow.probes.measures import effect_averaging, effect_columns
from vlmflow.settings import Edges, EdgeText, Strict
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT

if TYPE_CHECKING:  # it imports torch
    from vlmflow.probes.question import Question

# Values of the column `keep` that are no set of the study: along the search, and the smallest set without one cell.
PATH, WITHOUT = "path", "without"

SEARCHED_EDGES = [
    "image -> question",
    "image -> template",
    "image -> last",
    "question -> template",
    "question -> last",
    "template -> last",
]
ROUNDS = 4  # of a usual search


class LayerRange(Strict):
    """Layers of a model, from the first to the last one."""

    layers: tuple[int, int] | None = Field(None, description="Numbers of the first and the last layer, from 0.")
    share: tuple[float, float] | None = Field(
        None, description="Shares of the depth, from 0 to 1, instead of numbers: [0, 0.5] is the first half."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "LayerRange":
        if (self.layers is None) == (self.share is None):
            raise ValueError("give either layers ([first, last]) or share ([from, to], of the depth)")
        first, last = self.ends
        if self.layers is not None and not 0 <= first <= last:
            raise ValueError(f"layers: [{first}, {last}]: give the first and the last layer, from 0 on")
        if self.share is not None and not 0 <= first < last <= 1:
            raise ValueError(f"share: [{first:g}, {last:g}]: give two shares from 0 to 1, the smaller one first")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, as numbers of layers or as shares."""
        return self.layers or self.share or (0, 1)

    def of(self, layers: int) -> range:
        """The layers in a model of `layers` layers."""
        if self.layers is not None:
            return range(self.layers[0], self.layers[1] + 1)
        first, last = self.ends
        return range(int(first * layers + 0.5), int(last * layers + 0.5))


_KIND = Discriminator(lambda given: "[all]" if isinstance(given, str) else "[range]")
KeptLayers = Annotated[
    Annotated[Literal["all"], Tag("[all]")] | Annotated[LayerRange, Tag("[range]")],
    _KIND,
]


class Search(Strict):
    """The search for the smallest set of cells, which are edges in blocks of layers."""

    edges: Edges = Field(
        default_factory=lambda: list(SEARCHED_EDGES),
        description="The edges that may be kept; by default all between image, question, template and last.",
    )
    blocks: int = Field(8, ge=1, description="Number of blocks into which the layers are divided.")
    keep: float = Field(95, gt=0, le=100, description="Percentage of the correct answers that the set must keep.")
    questions: int = Field(32, ge=2, description="Largest number of questions per task on which sets are compared.")


class PathwayProbe(Probe):
    """Only some edges are kept, in some layers; all other attention between the segments is blocked."""

    chapter: ClassVar = Chapter.KNOCKOUT
    table: ClassVar = Table(
        "pathway",
        ABOUT
        | {
            "half": Column(
                pl.String,
                "search: the smallest set was searched on questions about this image; confirm: about all other images; "
                "all: for sets of the study",
            ),
            "keep": Column(
                pl.String,
                f"a set of the study; {PATH}: the `cells` cells that the search removed last; {WITHOUT}: the smallest "
                "set without one of its cells",
            ),
            "edge": Column(pl.String, f"{PATH}: of the cell that comes last into it; {WITHOUT}: of the removed one"),
            "layer": Column(pl.Int32, "the first layer of this cell; −1 where there is no such cell"),
            "until": Column(pl.Int32, "its last layer"),
            "cells": Column(pl.Int32, "number of cells that are kept; −1 for a set of the study"),
            "smallest": Column(pl.Boolean, "whether the cell is in the smallest set"),
        }
        | effect_columns("p_kept"),
    )
    averaging: ClassVar[Averaging] = effect_averaging(
        ("half", "keep", "edge", "layer", "cells"),
        further={
            "until": (Column(pl.Int32, "last layer of the cell"), pl.col("until").first()),
            "smallest": (Column(pl.Boolean, "whether the cell is in the smallest set"), pl.col("smallest").first()),
        },
    )

    kind: Literal["pathway"]
    keep: dict[Annotated[str, Field(min_length=1)], dict[EdgeText, KeptLayers]] = Field(
        default_factory=dict,
        description="Sets by name: each edge that is kept, with all, {layers: [first, last]} or {share: [from, to]}.",
    )
    search: Search | None = Field(None, description="Search for the smallest set that keeps most correct answers.")

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """See `Probe.edge_groups`."""
        kept = [edge for edges in self.keep.values() for edge in edges]
        return parse_edges(list(dict.fromkeys([*kept, *(self.search.edges if self.search else ())])))

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {
            f"keep.{name}.{edge}.layers": layers.layers[1] + 1
            for name, edges in self.keep.items()
            for edge, layers in edges.items()
            if isinstance(layers, LayerRange) and layers.layers is not None
        }

    def too_deep(self, key: str, layers: int) -> tuple[str, int]:
        """See `Probe.too_deep`; layers are numbered from 0."""
        return f"{self.layers_required[key] - 1} is not one of the layers 0 to {layers - 1}", layers - 1

    @property
    def uses_seed(self) -> bool:
        """See `Probe.uses_seed`; the order of questions decides on which the smallest set is searched."""
        return super().uses_seed or self.search is not None

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """See `Probe.columns`."""
        return super().columns(in_random_order(rows, seed) if self.search else rows, tables, seed)

    @property
    def cache_size(self) -> int:
        """See `Probe.cache_size`: the smallest set of the task."""
        return 1 if self.search else 0

    def others(self, questions: Sequence["Question"]) -> Mapping[str, Sequence["Question"]]:
        """See `Probe.others`."""
        searched = self.searched(questions)
        return {question.id: searched for question in questions} if searched else {}

    def searched(self, questions: Sequence["Question"]) -> list["Question"]:
        """The questions of a task on which the smallest set is searched: those about the first half of the images."""
        from vlmflow.analysis.bootstrap import halves

        if self.search is None or not questions:
            return []
        first = halves([question.image_id for question in questions])[0]
        return [each for each, chosen in zip(questions, first, strict=True) if chosen][: self.search.questions]

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        row = text_share(size)
        work, passes, rows = forward(), 2.0, float(len(self.keep))
        if self.search is not None:
            cells = len(self.search.edges) * min(self.search.blocks, size.layers)
            searched = 2 * ROUNDS * min(self.search.questions, questions) / max(1, questions)
            work += searched * (forward() + cells / 2 * row)
            passes += searched * 3
            rows += cells + cells / 4
        return Work(work + rows * row, passes + rows * row * size.tokens / REPLAYED)

    @model_validator(mode="after")
    def _something_is_kept(self) -> "PathwayProbe":
        if not self.keep and self.search is None:
            raise ValueError("keep, search: give at least one of the two; without them nothing is measured")
        if reserved := {PATH, WITHOUT} & set(self.keep):
            raise ValueError(f"keep.{min(reserved)}: this name has a meaning in the table; choose another one")
        return self


def layer_blocks(layers: int, blocks: int) -> list[range]:
    """`blocks` blocks of layers of nearly equal size, or as many as there are layers."""
    number = min(blocks, layers)
    return [range(*ends) for ends in pairwise(round(block * layers / number) for block in range(number + 1))]
