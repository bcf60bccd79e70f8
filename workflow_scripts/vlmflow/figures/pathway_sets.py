"""What sets of edges keep of the answers: those of the study, the smallest one, and none."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl

from vlmflow.probes import PathwayProbe
from vlmflow.probes.pathway import PATH, WITHOUT

from .base import SummaryChart
from .effect_chart import EffectChart
from .effects import Reading
from .panels import Axes, FigureData, Frame, Layout
from .pathway import smallest_size

if TYPE_CHECKING:
    import altair as alt


class PathwaySetsChart(EffectChart, SummaryChart[PathwayProbe]):
    """The effect of keeping only each set, as points with intervals; a panel per task."""

    draws: ClassVar = (PathwayProbe,)
    table_has_all: ClassVar = True

    chart: Literal["pathway-sets"]

    @property
    def reading(self) -> Reading:
        """See `SummaryChart.reading`."""
        return replace(super().reading, effect=f"{self.shown.y_title}: the largest effect among the sets")

    def axes(self, probe: PathwayProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("keep", "keep", self.shown.y_title, "Edges that are kept")

    def chosen_rows(self, rows: pl.DataFrame, probe: PathwayProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`; `keep` is the name of the set as the figure writes it."""
        shown = self.of_measure(rows).filter(pl.col("keep") != WITHOUT)
        parts = [shown.filter(pl.col("keep") != PATH)]
        for half, name in (("search", "smallest set, images of the search"), ("confirm", "smallest set, other images")):
            of_half = shown.filter(pl.col("keep") == PATH, pl.col("half") == half)
            for _, path in of_half.group_by("task", maintain_order=True):
                parts.append(_named(path, smallest_size(path), name))
                if half == "confirm":
                    parts.append(_named(path, 0, "none, other images"))
        return pl.concat(parts)

    def draw_rows(
        self, rows: pl.DataFrame, probe: PathwayProbe, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.points import draw_points

        return draw_points(rows, self.axes(probe), frame, rows["keep"].unique(maintain_order=True).to_list())

    def caption(self, probe: PathwayProbe) -> str:
        """See `Chart.caption`."""
        found = " The smallest set was searched on at most half of the images." if probe.search else ""
        return (
            f"{self.shown.y_title}, if all attention between image, question, template and last position is blocked "
            f"but that of the edges of a set. Correct answers that stay are 100 % less those that flip.{found} "
            "Points: mean over questions. Bars: 95 % bootstrap interval over images."
        )

    def describe(self, rows: pl.DataFrame, probe: PathwayProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        parts = [
            f"{name}: " + ", ".join(f"{self.shown.mean(row)} in {row['task']}" for row in of_set.to_dicts())
            for (name,), of_set in rows.group_by("keep", maintain_order=True)
        ]
        return f"{self.shown.y_title}, if only these are kept: {'; '.join(parts)}."


def _named(path: pl.DataFrame, cells: int, name: str) -> pl.DataFrame:
    """The row of a number of cells, with another name."""
    return path.filter(pl.col("cells") == cells).with_columns(keep=pl.lit(name))
