"""Occlusion: the loss without single cells of the image; [thesis]."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import ImageProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT


class OcclusionProbe(ImageProbe):
    """Loss of the reference answer without each cell of a grid over the image."""

    chapter: ClassVar = Chapter.TOKENS
    table: ClassVar = Table(
        "places",
        ABOUT
        | {
            "grid": Column(pl.Int32, "cells per side"),
            "loss": Column(pl.Float64, "of the reference answer with the whole image, nats per token"),
            "loss_increase": Column(pl.List(pl.Float64), "of the loss without each cell, row by row, nats per token"),
        },
    )
    averaging: ClassVar = Averaging(by=(), quantities=("loss_increase",), map_columns="grid")

    former_kinds: ClassVar = ("places",)

    kind: Literal["occlusion"]
    grid: int = Field(6, ge=2, description="Cells per side.")

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        # Each cell is a row that begins at another position, so that no two cells share a pass.
        return Work(forward() + 0.6 * self.grid**2, 1 + self.grid**2)
