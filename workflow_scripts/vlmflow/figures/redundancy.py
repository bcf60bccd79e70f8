"""Redundancy of edges that are knocked out together, over the layers."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.analysis.redundancy import REDUNDANCY
from vlmflow.edges import AND
from vlmflow.probes import KnockoutProbe
from vlmflow.settings import Window

from . import knockout_texts
from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .numbers import with_interval
from .panels import Axes
from .style import name_of


class RedundancyChart(LineChart[KnockoutProbe]):
    """The redundancy index of each group of edges over the layers, a panel per task."""

    draws: ClassVar = (KnockoutProbe,)
    reading: ClassVar = Reading("Highest redundancy index over the layers", signs=True)
    table_has_all: ClassVar = True

    chart: Literal["redundancy"]
    window: Window | None = Field(None, description="One of the probe's windows; required if it has several.")

    def check(self, probe: KnockoutProbe, name: str) -> None:
        """See `Chart.check`."""
        knockout_texts.check_window(self.window, probe, name, self.probe)
        if not any(AND in edge and set(edge.split(AND)) <= set(probe.edges) for edge in probe.edges):
            raise ValueError(
                f"figures.{name}.probe: the probe {self.probe!r} has no edges that are knocked out together and each "
                "alone; give it edges such as 'a -> b', 'c -> d' and 'a -> b + c -> d'"
            )

    def axes(self, probe: KnockoutProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", knockout_texts.CUTS[probe.cut].x_title, "Redundancy index")

    def chosen_rows(self, rows: pl.DataFrame, probe: KnockoutProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        window = knockout_texts.window_shown(self.window, probe, rows)
        return rows.filter(pl.col("quantity") == REDUNDANCY, pl.col("window") == window)

    def caption(self, probe: KnockoutProbe) -> str:
        """See `Chart.caption`."""
        meaning = (
            "1 less the sum of the effects of each edge alone over the effect of all together, by the answer's "
            "log-probability. At 1 each edge alone is dispensable, at 0 the effects add up, and at −1 two edges are "
            "parts of one path. Layers in which the joint effect does not differ from 0 are left out."
        )
        settings = knockout_texts.settings_caption(probe)
        window = knockout_texts.window_caption(self.window, probe)
        return " ".join(filter(None, [meaning, INTERVALS, window, *settings]))

    def describe(self, rows: pl.DataFrame, probe: KnockoutProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        best = rows.sort("mean", descending=True, maintain_order=True).unique("edge", keep="first", maintain_order=True)
        parts = [
            f"{name_of(row['edge'])}: {with_interval(row, 2, signs=True)} at layer {row['layer']}, {row['task']}"
            for row in best.to_dicts()
        ]
        return f"Highest redundancy index: {'; '.join(parts)}."
