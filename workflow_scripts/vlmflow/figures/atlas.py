"""Every edge of a knockout probe in one heat map."""

from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.edges import ALL_EDGES, FLOW_EDGES
from vlmflow.probes import KnockoutProbe
from vlmflow.settings import Window

from . import knockout_texts
from .base import SummaryChart, measured_rows
from .effect_chart import EffectChart
from .measures import ANSWERS
from .panels import Axes, FigureData, Frame, Layout
from .style import name_of

if TYPE_CHECKING:
    import altair as alt

STRONGEST = 5  # edges that are named
MARKS = (
    "A dot marks a mean below 0, and a plus a mean above 0, that differs from 0, corrected for the number of cells: at "
    "most 5 % of all marks are expected where there is no change (false discovery rate over all cells of a window). "
    "Grey: the edge does not apply to the task."
)


class AtlasChart(EffectChart, SummaryChart[KnockoutProbe]):
    """Every edge of the probe as a row of a heat map, a column per layer, a panel per task."""

    draws: ClassVar = (KnockoutProbe,)

    chart: Literal["atlas"]
    window: Window | None = Field(
        None, description="The window that is shown first, and in print; required if the probe has several windows."
    )

    def check(self, probe: KnockoutProbe, name: str) -> None:
        """See `Chart.check`."""
        knockout_texts.check_window(self.window, probe, name, self.probe)

    def axes(self, probe: KnockoutProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", knockout_texts.CUTS[probe.cut].x_title, self.shown.y_title)

    def chosen_rows(self, rows: pl.DataFrame, probe: KnockoutProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        window = knockout_texts.window_shown(self.window, probe, rows)
        return self.of_measure(rows).filter(pl.col("window") == window)

    def panel_note(self, panel: pl.DataFrame, probe: KnockoutProbe) -> str:
        """See `SummaryChart.panel_note`."""
        return knockout_texts.sub_words_note(panel, probe)

    def draw_rows(
        self, rows: pl.DataFrame, probe: KnockoutProbe, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """The heat map; on the screen it holds all windows, and the reader chooses one of them."""
        from .marks.heatmap import draw_heatmap

        if layout.interactive:
            panels = dict(rows.select("task", "panel").unique().iter_rows())
            rows = self.of_measure(measured_rows(data.summary, data.model))
            rows = rows.with_columns(panel=pl.col("task").replace_strict(panels))
        window = knockout_texts.window_shown(self.window, probe, rows)
        known = {edge: rank for rank, edge in enumerate(ALL_EDGES)}
        edges = sorted(rows["edge"].unique(), key=lambda edge: known.get(edge, len(known)))
        names = {edge: name_of(edge) for edge in edges}
        return draw_heatmap(rows, self.axes(probe), frame, self.shown, window, names)

    def tabulated_lines(self, shown: pl.DataFrame, summary: pl.DataFrame, probe: KnockoutProbe) -> list[str]:
        """The edges whose knockout has the largest effect, in whichever layer."""
        peaks = self.shown.worst_first(shown).group_by("edge", maintain_order=True).first()
        return self.shown.worst_first(peaks, "edge")["edge"].head(STRONGEST).to_list()

    def caption(self, probe: KnockoutProbe) -> str:
        """See `Chart.caption`."""
        all_edges = (
            ["The edges lead from every segment of the prompt to every later one."]
            if set(probe.edges) >= set(ALL_EDGES)
            else []
        )
        window = knockout_texts.window_caption(self.window, probe)
        measured, settings = knockout_texts.measure_caption(self.shown, probe), knockout_texts.settings_caption(probe)
        return " ".join(filter(None, [measured, MARKS, *all_edges, window, *settings]))

    def describe(self, rows: pl.DataFrame, probe: KnockoutProbe, features: pl.DataFrame | None) -> str:
        """The edge whose knockout has the largest effect, and the ranks of the edges of [flow]."""
        peaks = self.shown.worst_first(rows).group_by("edge", maintain_order=True).first()
        peaks = self.shown.worst_first(peaks, "edge")
        ranks = {edge: rank for rank, edge in enumerate(peaks["edge"], 1)}
        paper = [f"{name_of(edge)} {ranks[edge]}" for edge in FLOW_EDGES if edge in ranks]
        strongest = self.shown.strongest.format(answer=ANSWERS[probe.follow])
        worst = peaks.row(0, named=True)
        text = (
            f"of {len(peaks)} edges, knocking out {name_of(worst['edge'])} {strongest} most "
            f"({knockout_texts.effect_at(worst, self.shown, probe)}, {worst['task']})."
        )
        return text + (f" Ranks of the paper's edges by this effect: {', '.join(paper)}." if paper else "")
