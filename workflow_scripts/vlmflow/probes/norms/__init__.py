"""Norms of the image encoder's features; [flow] appendix E."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import Probe
from vlmflow.probes.cost import Work, encoder_forward
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT


def _shares(rows: pl.DataFrame) -> pl.DataFrame:
    from .bins import shares_of_norms

    return shares_of_norms(rows)


class NormsProbe(Probe):
    """Norms of the image encoder's features, patch by patch."""

    table: ClassVar = Table(
        "norms",
        ABOUT
        | {
            "norms": Column(
                pl.List(pl.Float64), "of the image encoder's feature behind each of the image's tokens; null: no patch"
            ),
            "related": Column(pl.List(pl.Int32), "numbers of the related patches among the tokens", nullable=True),
        },
    )
    averaging: ClassVar = Averaging(
        by=("patches", "norm"),
        quantities=("share",),
        prepare=_shares,
        columns={
            "patches": Column(pl.String, "all, related or other patches"),
            "norm": Column(pl.Float64, "lower edge of a bin; the upper one is 2^(1/8) times as much"),
        },
    )

    kind: Literal["norms"]

    @property
    def needs(self) -> str | None:
        """See `Probe.needs`."""
        return "image"

    @property
    def needs_patches(self) -> bool:
        """See `Probe.needs_patches`; the norms of related patches are averaged by themselves."""
        return True

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return Work(2 * encoder_forward(), 1)
