"""Maps over the image, averaged over questions: attention, or the loss without a cell; [thesis]."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import AttentionMapProbe, OcclusionProbe

from .attention_maps import Layers, Quantity, Target, check_attention, refuse_layers, refuse_target, target_shown
from .base import SummaryChart
from .effects import Reading
from .numbers import span, with_interval
from .panels import Axes, FigureData, Frame, Layout, evenly_spaced
from .style import name_of

if TYPE_CHECKING:
    import altair as alt

MapProbe = AttentionMapProbe | OcclusionProbe
LAYERS = 6  # maps of attention per task, if the figure names no layers


class MapChart(SummaryChart[MapProbe]):
    """A map over the image, averaged over questions: attention in some layers, or the loss without each cell."""

    draws: ClassVar = (AttentionMapProbe, OcclusionProbe)
    reading: ClassVar = Reading("The highest cell", position="")

    chart: Literal["map"]
    quantity: Quantity = "share"
    target: Target = None
    layers: Layers = Field(
        None, description="Attention only: the layers that are shown; by default six from the first to the last."
    )

    def _maps(self, probe: MapProbe) -> "_AttentionMaps | _OcclusionMaps":
        match probe:
            case AttentionMapProbe():
                return _AttentionMaps(self, probe)
            case OcclusionProbe():
                return _OcclusionMaps(self, probe)

    def check(self, probe: MapProbe, name: str) -> None:
        """See `Chart.check`."""
        self._maps(probe).check(f"figures.{name}")

    def axes(self, probe: MapProbe) -> Axes:
        """See `SummaryChart.axes`; cells of the image take the role of the x axis."""
        maps = self._maps(probe)
        return Axes("line", "cell", "", maps.quantity_title, maps.panels)

    def chosen_rows(self, rows: pl.DataFrame, probe: MapProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return self._maps(probe).chosen_rows(rows)

    def draw(self, probe: MapProbe, data: FigureData, layout: Layout) -> "alt.TopLevelMixin | None":
        """See `Chart.draw`; the headings do not give the number of questions."""
        maps = self._maps(probe)
        rows = maps.drawn_rows(self.rows(data.summary, probe, data.model))
        if len(rows) == 0:
            return None
        size = f"n = {max(rows['questions'])} questions per task{maps.subtitle_note}"
        subtitle = [f"{data.model}; {size}"] if layout.columns > 1 else [data.model, size]
        rows = rows.with_columns(panel=maps.heading)
        ranks = {task: rank for rank, task in enumerate(data.tasks)}
        panels = rows.select("panel", *maps.panels).unique(maintain_order=True)
        order = panels.sort(pl.col("task").replace_strict(ranks), *maps.panels[1:])["panel"].to_list()
        return self.draw_rows(rows, probe, Frame(self.title, subtitle, order, layout.columns), data, layout)

    def draw_rows(
        self,
        rows: pl.DataFrame,
        probe: MapProbe,
        frame: Frame,
        data: FigureData,
        layout: Layout,
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.maps import draw_maps

        return draw_maps(rows, self._maps(probe).quantity_title, frame)

    def tabulated(self, rows: pl.DataFrame, probe: MapProbe) -> pl.DataFrame:
        """The rows with the position of each cell as text; the map's quantity is their line."""
        return self._maps(probe).tabulated(rows)

    def caption(self, probe: MapProbe) -> str:
        """See `Chart.caption`."""
        return self._maps(probe).caption()

    def describe(
        self,
        rows: pl.DataFrame,
        probe: MapProbe,
        features: pl.DataFrame | None,
    ) -> str:
        """The cells with the highest values."""
        return self._maps(probe).describe(rows)


@dataclass(frozen=True)
class _AttentionMaps:
    """Maps of attention: one map per task and layer, a row of maps per task."""

    figure: MapChart
    probe: AttentionMapProbe
    panels = ("task", "layer")
    heading = pl.format("{}, layer {}", "task", "layer")

    @property
    def target(self) -> str:
        return target_shown(self.figure.target, self.probe)

    @property
    def quantity_title(self) -> str:
        return {"share": "Share of the norms, %", "weight": "Attention weight, %"}[self.figure.quantity]

    @property
    def subtitle_note(self) -> str:
        return f"; attention from {self.target}"

    def check(self, key: str) -> None:
        check_attention(self.figure.target, self.figure.layers, self.probe, key, self.figure.probe)

    def _of_target(self) -> pl.Expr:
        return (pl.col("quantity") == self.figure.quantity) & (pl.col("target") == self.target)

    def chosen_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        layers = self.figure.layers
        return rows.filter(self._of_target(), pl.col("layer").is_in(layers) if layers else True)

    def drawn_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        layers = self.figure.layers or evenly_spaced(rows["layer"].unique().sort().to_list(), LAYERS)
        return rows.filter(pl.col("layer").is_in(layers))

    def tabulated(self, rows: pl.DataFrame) -> pl.DataFrame:
        line = f"{self.target}: {name_of(self.figure.quantity)}, percent"
        rows = rows.filter(self._of_target() | pl.col("mean").is_null())
        return rows.with_columns(cell=pl.format("layer {}, {}", "layer", CELL), line=pl.lit(line))

    def caption(self) -> str:
        return (
            "Attention of the instruction to the image: for each patch its share of the attention weights, or of the "
            "norms of the weighted and projected value vectors (Kobayashi et al. 2020); mean over the target's "
            "positions and over questions. All layers share one colour scale. The interactive figure has the intervals."
        )

    def describe(self, rows: pl.DataFrame) -> str:
        images = rows.group_by("task", "layer", maintain_order=True).agg(pl.col("mean").sum())
        best, peak = (_highest(each) for each in (images, rows))
        return (
            f"{self.target} attends to the image most in layer {best['layer']} ({best['mean']:.0f} % of the total, "
            f"{best['task']}), and to a single patch most in layer {peak['layer']} ({peak['mean']:.1f} %, "
            f"{_cell(peak)}, {peak['task']})."
        )


@dataclass(frozen=True)
class _OcclusionMaps:
    """Maps of the loss without each cell of the image: one per task."""

    figure: MapChart
    probe: OcclusionProbe
    panels = ("task",)
    heading = pl.col("task")
    quantity_title = "Increase of the loss, nats per token"
    subtitle_note = ""

    def check(self, key: str) -> None:
        refuse_target(self.figure.target, key, self.figure.probe)
        refuse_layers(self.figure.layers, key, self.figure.probe)

    def chosen_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def drawn_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def tabulated(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(cell=CELL, line=pl.lit("increase of the loss, nats per token"))

    def caption(self) -> str:
        return (
            "Increase of the reference answer's loss when no other token may attend to the tokens of one cell of a "
            f"{self.probe.grid} × {self.probe.grid} grid over the image, in any layer: mean over questions. The "
            "interactive figure has the intervals."
        )

    def describe(self, rows: pl.DataFrame) -> str:
        peak = _highest(rows)
        certain = rows.group_by("task").agg((pl.col("low") > 0).sum())["low"]
        cells = len(rows) // rows["task"].n_unique()
        depending = ", depending on the task" if certain.n_unique() > 1 else ""
        return (
            f"the loss increases most without the cell in {_cell(peak)}, in {peak['task']}: "
            f"{with_interval(peak, 2, signs=True)} nats per token. The interval is above 0 for {span(certain)} of "
            f"{cells} cells{depending}."
        )


CELL = pl.format("row {}, column {}", pl.col("row") + 1, pl.col("column") + 1)


def _highest(rows: pl.DataFrame) -> dict[str, Any]:
    return rows.sort("mean", descending=True, maintain_order=True).row(0, named=True)


def _cell(row: dict[str, Any]) -> str:
    return f"row {row['row'] + 1}, column {row['column'] + 1}"
