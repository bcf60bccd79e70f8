"""Attention between segments, by weights and by norms; [thesis]."""

from collections.abc import Iterable
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import AttentionProbe
from vlmflow.settings import EdgeText

from .base import LineChart
from .captions import INTERVALS
from .checks import check_edges
from .effects import Reading
from .panels import Axes


class AttentionChart(LineChart[AttentionProbe]):
    """Attention weights and, beside them, norms over the layers, a line per edge."""

    draws: ClassVar = (AttentionProbe,)
    reading: ClassVar = Reading("Highest mean over the layers", digits=1, unit=" %", by_panel=True)
    table_has_all: ClassVar = True

    chart: Literal["attention"]
    edges: list[EdgeText] | None = Field(None, min_length=1, description="Some of the probe's edges; by default all.")

    def check(self, probe: AttentionProbe, name: str) -> None:
        """See `Chart.check`."""
        check_edges(self.chosen_lines, probe.edges, name, self.probe)

    def axes(self, probe: AttentionProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", "Layer", "Percent of all positions", ("task", "quantity"))

    @property
    def chosen_lines(self) -> list[str]:
        """See `SummaryChart.chosen_lines`."""
        return self.edges or []

    def line_names(self, lines: Iterable[str], probe: AttentionProbe) -> dict[str, str]:
        """Edges with a plain arrow, since no edge is knocked out."""
        return {line: line.replace(" -> ", " → ") for line in lines}

    def chosen_rows(self, rows: pl.DataFrame, probe: AttentionProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        shown = rows.filter(pl.col("quantity").is_in(("weight", "share")))
        return shown.filter(pl.col("edge").is_in(self.edges)) if self.edges else shown

    def caption(self, probe: AttentionProbe) -> str:
        """See `Chart.caption`."""
        return (
            "Attention of the target's positions to the source, in percent of their attention to all positions to "
            "which they may attend: by attention weights (mean over heads), and by norms of the weighted and projected "
            f"value vectors (Kobayashi et al. 2020). {INTERVALS}"
        )

    def describe(self, rows: pl.DataFrame, probe: AttentionProbe, features: pl.DataFrame | None) -> str:
        """The highest mean of each edge, by weights and by norms, with its layer and task."""
        parts = []
        for edge in map(str, rows["edge"].unique(maintain_order=True)):
            peaks = rows.filter(pl.col("edge") == edge).sort("mean", descending=True, maintain_order=True)
            weight, norm = (
                peaks.filter(pl.col("quantity") == quantity).row(0, named=True) for quantity in ("weight", "share")
            )
            source, target = edge.split(" -> ")
            parts.append(
                f"{target} to {source}: at most {weight['mean']:.0f} % of the attention (layer {weight['layer']}, "
                f"{weight['task']}) and {norm['mean']:.0f} % of the norms (layer {norm['layer']}, {norm['task']})"
            )
        return "; ".join(parts) + "."
