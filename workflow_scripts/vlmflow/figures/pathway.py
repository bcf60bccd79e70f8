"""The smallest set of edges and layers that keeps most answers, drawn as arrows between segments; [flow] figure 1."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl

from vlmflow.edges import SEGMENTS, Edge
from vlmflow.probes import PathwayProbe
from vlmflow.probes.pathway import PATH, WITHOUT

from .base import SummaryChart, why_nothing
from .effect_chart import EffectChart
from .effects import EffectTable
from .numbers import unsigned
from .panels import Axes, FigureData, Frame, Layout
from .style import name_of

if TYPE_CHECKING:
    import altair as alt


class PathwayChart(EffectChart, SummaryChart[PathwayProbe]):
    """An arrow per edge and block of layers of the smallest set, a panel per task."""

    draws: ClassVar = (PathwayProbe,)
    table_has_all: ClassVar = True

    chart: Literal["pathway"]

    def check(self, probe: PathwayProbe, name: str) -> None:
        """See `Chart.check`."""
        check_search(probe, name, self.probe)

    def axes(self, probe: PathwayProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("edge", "layer", "Layer", self.shown.y_title)

    def chosen_rows(self, rows: pl.DataFrame, probe: PathwayProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`; the effects are those on images on which nothing was chosen."""
        confirmed = (pl.col("keep") == WITHOUT) & (pl.col("half") == "confirm")
        return self.of_measure(rows).filter(confirmed)

    def draw_rows(
        self, rows: pl.DataFrame, probe: PathwayProbe, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.pathway import draw_pathway

        edges = [edge for edge in searched_edges(probe) if edge in set(rows["edge"])]
        ends = {segment for edge in map(Edge.parse, searched_edges(probe)) for segment in (edge.source, edge.target)}
        blocks = data.summary.filter(pl.col("model") == data.model, pl.col("keep") == PATH, pl.col("layer") >= 0)
        starts = sorted({*blocks["layer"], *(until + 1 for until in blocks["until"])})
        return draw_pathway(rows, frame, self.shown, edges, sorted(ends, key=_rank), starts)

    def caption(self, probe: PathwayProbe) -> str:
        """See `Chart.caption`."""
        measured = self.shown.y_title
        search = probe.search
        if search is None:
            raise AssertionError("the figure was checked to have a search")
        return (
            f"The smallest set of edges, in blocks of layers, that keeps {search.keep:g} % of the correct answers if "
            "all other attention between these segments is blocked; a greedy search on some of the images. Each "
            "arrow is an edge in a block of layers. Its width is the effect on the other images if it is blocked too "
            f"({measured})."
        )

    def describe(self, rows: pl.DataFrame, probe: PathwayProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        parts = []
        for (task,), of_task in rows.group_by("task", maintain_order=True):
            cells = ", ".join(_cell(row) for row in of_task.sort("layer", maintain_order=True).to_dicts())
            parts.append(f"{task}: {cells}")
        return f"Smallest sets: {'; '.join(parts)}."

    def sentence(
        self, probe: PathwayProbe, summary: pl.DataFrame, model: str, features: pl.DataFrame | None = None
    ) -> str:
        """See `Chart.sentence`; that a task needs none of the edges is a result too."""
        found = len(self.rows(summary, probe, model)) > 0
        without = []
        for (task,), path in path_rows(summary, model).group_by("task", maintain_order=True):
            if smallest_size(path) == 0:
                least = path.filter(pl.col("cells") == 0, pl.col("quantity") == "flips")
                kept = ", ".join(f"{_kept(row)} on the {name_of(row['half'])}" for row in least.to_dicts())
                without.append(f"{task}: answers stay without any of these edges ({kept})")
        if not without:
            return super().sentence(probe, summary, model, features)
        said = f"{'; '.join(without)}."
        return f"{super().sentence(probe, summary, model, features)} {said}" if found else f"{model}: {said}"

    def effects(self, probe: PathwayProbe, summary: pl.DataFrame) -> EffectTable:
        """The smallest set of each task, and what it keeps of both halves."""
        lines = ["smallest set", "kept, images of the search", "kept, other images", "kept by nothing, other images"]
        rows: list[dict[str, Any]] = []
        for model in summary["model"].unique(maintain_order=True):
            path = path_rows(summary, model).filter(pl.col("quantity") == "flips")
            for (task,), of_task in path.group_by("task", maintain_order=True):
                size = smallest_size(of_task)
                cells = of_task.filter("smallest").unique("cells", maintain_order=True).sort("layer")
                sets = {half: of_task.filter(pl.col("half") == half) for half in ("search", "confirm")}
                shown = ((sets["search"], size), (sets["confirm"], size), (sets["confirm"], 0))
                kept = [_kept_cell(half.filter(pl.col("cells") == number)) for half, number in shown]
                total = most_cells(of_task)
                named = {
                    "value": f"{size} of {total}",
                    "interval": "",
                    "where": ", ".join(map(_cell, cells.to_dicts())),
                }
                rows.append({"model": model, "task": task, "cells": [named, *kept]})
            if not len(path):
                rows.append({"model": model, "task": "", "cells": [{"note": why_nothing(summary, model)}] * len(lines)})
        explanation = (
            "Number of edges × blocks of layers in the smallest set, and the share of the correct answers that it "
            "keeps, with its 95 % interval. Only the share of the other images is an unbiased estimate, since the set "
            "is the smallest that keeps enough on those of the search."
        )
        return EffectTable(lines, rows, explanation)


def check_search(probe: PathwayProbe, figure: str, name: str) -> None:
    """Check that a probe searches the smallest set.

    Raises:
        ValueError: it does not.
    """
    if probe.search is None:
        raise ValueError(f"figures.{figure}.probe: the probe {name!r} has no search; give it one, such as search: {{}}")


def searched_edges(probe: PathwayProbe) -> list[str]:
    """The edges among which a probe searches."""
    return list(probe.search.edges) if probe.search else []


def path_rows(summary: pl.DataFrame, model: str) -> pl.DataFrame:
    """The rows of a model's summary with the sets on the way of the search."""
    return summary.filter((pl.col("model") == model) & (pl.col("keep") == PATH) & pl.col("mean").is_not_null())


def smallest_size(path: pl.DataFrame) -> int:
    """The number of cells of the smallest set, from the rows of one task."""
    return most_cells(path.filter("smallest"))


def most_cells(path: pl.DataFrame) -> int:
    """The number of cells of the largest set; 0 without a row."""
    return max(path["cells"].to_list(), default=0)


def _cell(row: dict[str, Any]) -> str:
    layers = f"layer {row['layer']}" if row["layer"] == row["until"] else f"layers {row['layer']}–{row['until']}"
    return f"{name_of(row['edge']).replace('↛', '→')} in {layers}"


def _kept(row: dict[str, Any]) -> str:
    """100 % less the answers that flip, with the interval."""
    return "{value} {interval}".format(**_kept_parts(row))


def _kept_parts(row: dict[str, Any]) -> dict[str, str]:
    mean, low, high = (unsigned(100 - row[name], 1) for name in ("mean", "high", "low"))
    return {"value": f"{mean} %", "interval": f"[{low}, {high}]", "where": ""}


def _kept_cell(rows: pl.DataFrame) -> dict[str, str] | None:
    return _kept_parts(rows.row(0, named=True)) if len(rows) else None


def _rank(segment: str) -> tuple[int, str]:
    """The place of a segment in the prompt; that of the question for a study's own one."""
    return SEGMENTS.get(segment, SEGMENTS["question"]), segment
