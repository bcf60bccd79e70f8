"""Change of the answer's probability over the layers; [flow] figures 3 to 5."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import KnockoutProbe
from vlmflow.settings import EdgeGroupText, Window

from . import knockout_texts
from .base import LineChart
from .captions import INTERVALS
from .checks import check_edges
from .effect_chart import EffectChart
from .panels import Axes


class FlowChart(EffectChart, LineChart[KnockoutProbe]):
    """Change of the answer's probability over the layers, a panel per task, a line per edge."""

    draws: ClassVar = (KnockoutProbe,)
    table_has_all: ClassVar = True

    chart: Literal["flow"]
    edges: list[EdgeGroupText] = Field(min_length=1)
    window: Window | None = Field(None, description="One of the probe's windows; required if it has several.")

    def check(self, probe: KnockoutProbe, name: str) -> None:
        """See `Chart.check`."""
        check_edges(self.edges, probe.edges, name, self.probe)
        knockout_texts.check_window(self.window, probe, name, self.probe)

    def axes(self, probe: KnockoutProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", knockout_texts.CUTS[probe.cut].x_title, self.shown.y_title)

    @property
    def chosen_lines(self) -> list[str]:
        """See `SummaryChart.chosen_lines`."""
        return self.edges

    def chosen_rows(self, rows: pl.DataFrame, probe: KnockoutProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        window = knockout_texts.window_shown(self.window, probe, rows)
        return self.of_measure(rows).filter(pl.col("edge").is_in(self.edges), pl.col("window") == window)

    def panel_note(self, panel: pl.DataFrame, probe: KnockoutProbe) -> str:
        """See `SummaryChart.panel_note`."""
        return knockout_texts.sub_words_note(panel, probe)

    def caption(self, probe: KnockoutProbe) -> str:
        """See `Chart.caption`."""
        window = knockout_texts.window_caption(self.window, probe)
        measured, settings = knockout_texts.measure_caption(self.shown, probe), knockout_texts.settings_caption(probe)
        return " ".join(filter(None, [measured, INTERVALS, window, *settings]))

    def describe(self, rows: pl.DataFrame, probe: KnockoutProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        return knockout_texts.describe_edges(self.edges, rows, self.shown, probe)
