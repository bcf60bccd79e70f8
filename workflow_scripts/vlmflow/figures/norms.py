"""Distribution of the norms of the image encoder's features; [flow] figure 15."""

from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import NormsProbe

from .base import SummaryChart, measured_rows
from .effects import Reading
from .numbers import with_interval
from .panels import Axes, FigureData, Frame, Layout

if TYPE_CHECKING:
    import altair as alt

BIN = 2 ** (1 / 8)  # upper edge of a bin, in units of its lower edge


class NormsChart(SummaryChart[NormsProbe]):
    """Distribution of the norms of the image encoder's features, a panel per task."""

    draws: ClassVar = (NormsProbe,)
    reading: ClassVar = Reading("Bin with the most patches, by its lower edge", position="norm", digits=1, unit=" %")

    chart: Literal["norms"]
    threshold: float | None = Field(
        None, gt=0, description="The norm at which a vertical line is drawn; by default that of the probe."
    )

    def axes(self, probe: NormsProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("patches", "norm", "Norm of the patch's feature", "Patches per bin, %")

    def chosen_rows(self, rows: pl.DataFrame, probe: NormsProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return rows.filter(pl.col("patches") != "sinks")

    def draw_rows(
        self,
        rows: pl.DataFrame,
        probe: NormsProbe,
        frame: Frame,
        data: FigureData,
        layout: Layout,
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.distribution import draw_distribution

        return draw_distribution(rows, self.axes(probe), frame, self.threshold or probe.above)

    def caption(self, probe: NormsProbe) -> str:
        """See `Chart.caption`."""
        return (
            "Share of the patches whose feature, as the projector receives it from the image encoder, has a norm in "
            "each bin; eight bins per doubling. Both axes are logarithmic, the vertical one linear near 0. Lines: mean "
            "share over questions. Bands: 95 % bootstrap interval over images."
        )

    def sentence(
        self, probe: NormsProbe, summary: pl.DataFrame, model: str, features: pl.DataFrame | None = None
    ) -> str:
        """See `Chart.sentence`; with the number of sinks."""
        text = super().sentence(probe, summary, model, features)
        sinks = measured_rows(summary, model).filter(pl.col("patches") == "sinks")
        if not len(sinks):
            return text
        most = sinks.sort("mean", descending=True, maintain_order=True).row(0, named=True)
        return (
            f"{text} Most patches are sinks in {most['task']}: {with_interval(most, 1)} per image, with a norm above "
            f"{most['norm']:.3g}."
        )

    def describe(self, rows: pl.DataFrame, probe: NormsProbe, features: pl.DataFrame | None) -> str:
        """The median and the 95 % range of the norms."""
        import numpy as np

        shares = rows.filter(pl.col("patches") == "all").group_by("norm").agg(pl.col("mean").mean()).sort("norm")
        edges, mass = shares["norm"].to_numpy(), shares["mean"].to_numpy()
        low, middle, high = np.interp([2.5, 50, 97.5], np.cumsum(mass), edges * BIN)
        return (
            f"half of all patches have a norm below {middle:.3g}, and 95 % have one between {low:.3g} and {high:.3g}."
        )
