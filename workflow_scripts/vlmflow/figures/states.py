"""Norm of the states over the layers: whether the residual stream grows."""

from collections.abc import Iterable
from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import StatesProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .numbers import with_interval
from .panels import Axes

STATES = {
    "mean": "Euclidean norm of the mean of a segment's states after each layer, before the final norm.",
    "all": "Euclidean norm of the states after each layer, before the final norm, mean over a segment's positions.",
}


class StatesChart(LineChart[StatesProbe]):
    """Norm of the states over the layers, a panel per task, a line per segment."""

    draws: ClassVar = (StatesProbe,)
    reading: ClassVar = Reading("Highest mean norm over the layers", digits=1)
    table_has_all: ClassVar = True

    chart: Literal["states"]

    def axes(self, probe: StatesProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("segment", "layer", "Layer (−1: the embedding)", "Norm of the state")

    def known_lines(self, probe: StatesProbe) -> Iterable[str]:
        """See `LineChart.known_lines`; the order of the study file."""
        return probe.segments

    def caption(self, probe: StatesProbe) -> str:
        """See `Chart.caption`."""
        return f"{STATES[probe.tokens]} {INTERVALS}"

    def describe(self, rows: pl.DataFrame, probe: StatesProbe, features: pl.DataFrame | None) -> str:
        """The highest norm of each segment, with its layer and task."""
        parts = []
        for segment in probe.segments:
            of_segment = rows.filter(pl.col("segment") == segment)
            if len(of_segment):
                top = of_segment.row(int(of_segment["mean"].arg_max() or 0), named=True)
                parts.append(f"{segment} {with_interval(top, 1)} after layer {top['layer']} ({top['task']})")
        return f"the norm of the states is highest at {'; '.join(parts)}."
