"""Attention weights and norms as maps over the image; [thesis]."""

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.own_segments import NoSinks
from vlmflow.probes.base import ImageProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, weighing_attention
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, LAYER


def _on_one_grid(rows: pl.DataFrame) -> pl.DataFrame:
    from .grids import unpivot_maps

    return unpivot_maps(rows)


class AttentionMapProbe(ImageProbe):
    """Attention of the instruction to each patch, at every layer, by attention weights and by norms."""

    chapter: ClassVar = Chapter.ATTENTION
    table: ClassVar = Table(
        "attention map",
        ABOUT
        | {"target": Column(pl.String, "the segment that attends")}
        | LAYER
        | {
            "rows": Column(pl.Int32, "of patches"),
            "columns": Column(pl.Int32, "of patches"),
            "weight": Column(pl.List(pl.Float32), "row by row: percent of the target's attention"),
            "share": Column(pl.List(pl.Float32), "row by row: percent of the norms from all positions"),
        },
    )
    averaging: ClassVar = Averaging(
        by=("target", "quantity", "layer"),
        quantities=("weight", "share"),
        prepare=_on_one_grid,
        map_columns="columns",
    )

    kind: Literal["attention-map"]
    targets: Annotated[list[NoSinks], AfterValidator(each_once("target"))] = Field(
        ["question", "last"], min_length=1, description="The segments whose attention is mapped."
    )

    @property
    def segments_named(self) -> list[str]:
        """See `Probe.segments_named`."""
        return list(self.targets)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return weighing_attention()
