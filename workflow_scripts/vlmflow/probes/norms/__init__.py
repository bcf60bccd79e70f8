"""Norms of the image encoder's features; [flow] appendix E."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import Probe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, encoder_forward
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT


def _shares(rows: pl.DataFrame) -> pl.DataFrame:
    from .bins import numbers_of_sinks, shares_of_norms

    return pl.concat([shares_of_norms(rows), *numbers_of_sinks(rows)])


class NormsProbe(Probe):
    """Norms of the image encoder's features, patch by patch."""

    chapter: ClassVar = Chapter.STATES
    table: ClassVar = Table(
        "norms",
        ABOUT
        | {
            "norms": Column(
                pl.List(pl.Float64), "of the image encoder's feature behind each of the image's tokens; null: no patch"
            ),
            "related": Column(pl.List(pl.Int32), "numbers of the related patches among the tokens", nullable=True),
            "above": Column(pl.Float64, "norm above which a patch is a sink, if the study gives it", nullable=True),
            "quantile": Column(pl.Float64, "the same as a quantile of all norms of the model and task", nullable=True),
        },
    )
    averaging: ClassVar = Averaging(
        by=("patches", "norm"),
        quantities=("share",),
        prepare=_shares,
        columns={
            "patches": Column(
                pl.String, "all, related or other patches, whose share per bin is the mean; or sinks, whose number is"
            ),
            "norm": Column(
                pl.Float64, "lower edge of a bin; the upper one is 2^(1/8) times as much; for sinks, the threshold"
            ),
        },
    )

    kind: Literal["norms"]
    above: float | None = Field(None, gt=0, description="Norm above which a patch is counted as a sink.")
    quantile: float | None = Field(
        None, gt=0, lt=1, description="The same threshold as a quantile of all norms of the model and task."
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> "NormsProbe":
        if self.above is not None and self.quantile is not None:
            raise ValueError("above, quantile: give one of the two; both are the threshold of sinks")
        return self

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
