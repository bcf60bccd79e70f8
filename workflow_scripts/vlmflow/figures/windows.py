"""Change of the answer's probability over the layers, for several windows; [flow] appendix B."""

from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import KnockoutProbe
from vlmflow.probes.knockout import CUT_BY_WINDOW
from vlmflow.settings import EdgeGroupText

from . import knockout_texts
from .base import LineChart
from .captions import INTERVALS
from .checks import check_edges
from .effect_chart import EffectChart
from .panels import Axes


class WindowsChart(EffectChart, LineChart[KnockoutProbe]):
    """The same as `FlowChart`, with a panel per task and window."""

    draws: ClassVar = (KnockoutProbe,)
    table_has_all: ClassVar = True

    chart: Literal["windows"]
    edges: list[EdgeGroupText] = Field(min_length=1)

    def check(self, probe: KnockoutProbe, name: str) -> None:
        """See `Chart.check`."""
        check_edges(self.edges, probe.edges, name, self.probe)
        if probe.cut not in CUT_BY_WINDOW:
            raise ValueError(f"figures.{name}.chart: the probe {self.probe!r} has no windows; draw it as flow")

    def axes(self, probe: KnockoutProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", knockout_texts.CUTS[probe.cut].x_title, self.shown.y_title, ("task", "window"))

    @property
    def chosen_lines(self) -> list[str]:
        """See `SummaryChart.chosen_lines`."""
        return self.edges

    def chosen_rows(self, rows: pl.DataFrame, probe: KnockoutProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return self.of_measure(rows).filter(pl.col("edge").is_in(self.edges)).sort("window", maintain_order=True)

    def panel_note(self, panel: pl.DataFrame, probe: KnockoutProbe) -> str:
        """See `SummaryChart.panel_note`."""
        return knockout_texts.sub_words_note(panel, probe)

    def position(self, row: dict[str, Any], axes: Axes) -> str:
        """See `SummaryChart.position`."""
        return f"{super().position(row, axes)}, k = {row['window']}"

    def caption(self, probe: KnockoutProbe) -> str:
        """See `Chart.caption`."""
        panels = "The window of each panel has k layers."
        measured, settings = knockout_texts.measure_caption(self.shown, probe), knockout_texts.settings_caption(probe)
        return " ".join(filter(None, [measured, panels, INTERVALS, *settings]))

    def describe(self, rows: pl.DataFrame, probe: KnockoutProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        return knockout_texts.describe_edges(self.edges, rows, self.shown, probe)
