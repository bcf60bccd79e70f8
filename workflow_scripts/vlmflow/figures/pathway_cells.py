"""What is left of the answers while the search for the smallest set removes one cell after another."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import polars as pl

from vlmflow.probes import PathwayProbe
from vlmflow.probes.pathway import PATH

from .base import LineChart
from .captions import INTERVALS
from .effect_chart import EffectChart
from .effects import Reading
from .panels import Axes
from .pathway import check_search, most_cells, smallest_size
from .style import name_of


class PathwayCellsChart(EffectChart, LineChart[PathwayProbe]):
    """The effect over the number of edges × blocks of layers that are kept, a line for the images of the search, and
    one for all others."""

    draws: ClassVar = (PathwayProbe,)

    chart: Literal["pathway-cells"]

    def check(self, probe: PathwayProbe, name: str) -> None:
        """See `Chart.check`."""
        check_search(probe, name, self.probe)

    @property
    def reading(self) -> Reading:
        """See `SummaryChart.reading`."""
        return replace(
            super().reading, effect=f"{self.shown.y_title}: the largest effect among the sets along the search"
        )

    def axes(self, probe: PathwayProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("half", "cells", "Edges × blocks that are kept", self.shown.y_title, doubling=True)

    def chosen_rows(self, rows: pl.DataFrame, probe: PathwayProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return self.of_measure(rows).filter(pl.col("keep") == PATH).sort("half", "cells", descending=[True, False])

    def position(self, row: dict[str, Any], axes: Axes) -> str:
        """See `SummaryChart.position`."""
        return f"{row['cells']} kept"

    def panel_note(self, panel: pl.DataFrame, probe: PathwayProbe) -> str:
        """See `SummaryChart.panel_note`."""
        return f"; smallest: {smallest_size(panel)} of {most_cells(panel)}"

    def caption(self, probe: PathwayProbe) -> str:
        """See `Chart.caption`."""
        return (
            f"{self.shown.y_title}, if all attention between the segments is blocked but that of some edges in blocks "
            "of layers; from right to left, one after another is blocked, in the order of a greedy search. It saw only "
            f"the images of the search. {INTERVALS}"
        )

    def describe(self, rows: pl.DataFrame, probe: PathwayProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        kept = []
        for (_,), of_task in rows.group_by("task", maintain_order=True):
            size, most = smallest_size(of_task), most_cells(of_task)
            # The set is the smallest that keeps enough on the images of the search; the others measure it.
            at = of_task.filter(pl.col("cells") == size).sort(pl.col("half") == "search", maintain_order=True)
            kept.append(at.head(1).with_columns(size=pl.lit(f"{size} of {most}")))
        (worst,) = self.shown.worst_first(pl.concat(kept)).head(1).to_dicts()
        return (
            f"largest effect with a smallest set: {self.shown.mean(worst)} on the {name_of(worst['half'])}, in "
            f"{worst['task']} ({worst['size']} kept)."
        )
