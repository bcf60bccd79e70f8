"""The effects of single heads: a heat map of heads and layers, and the strongest ones as a table."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl

from vlmflow.probes import HeadsProbe

from .atlas import MARKS
from .base import SummaryChart
from .effect_chart import EffectChart
from .effects import EffectTable
from .measures import ANSWERS
from .numbers import unsigned
from .panels import Axes, FigureData, Frame, Layout
from .style import name_of

if TYPE_CHECKING:
    import altair as alt

STRONGEST = 5  # heads that are named
HALF_NAMES = ["first_half", "second_half"]


class HeadsChart(EffectChart, SummaryChart[HeadsProbe]):
    """A row per head, a column per layer, a panel per task and intervention."""

    draws: ClassVar = (HeadsProbe,)

    chart: Literal["heads"]

    def axes(self, probe: HeadsProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("head", "layer", "Layer", self.shown.y_title, ("task", "intervention"))

    def chosen_rows(self, rows: pl.DataFrame, probe: HeadsProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        order = {name: rank for rank, name in enumerate(probe.interventions)}
        rank = pl.col("intervention").replace_strict(order, default=len(order), return_dtype=pl.Int32)
        return self.of_measure(rows).sort(rank, maintain_order=True)

    def draw_rows(
        self, rows: pl.DataFrame, probe: HeadsProbe, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """The heat map; heads that share their keys are next to each other."""
        from .marks.heatmap import draw_heatmap

        shared = dict(rows.select("head", "key_head").unique().sort("head").iter_rows())
        sharing = len(set(shared.values())) < len(shared)
        names = {head: f"{head} (keys {keys})" if sharing else f"{head}" for head, keys in shared.items()}
        return draw_heatmap(rows, self.axes(probe), frame, self.shown, probe.window, names)

    def caption(self, probe: HeadsProbe) -> str:
        """See `Chart.caption`."""
        measured = self.shown.caption.format(answer=ANSWERS[probe.follow])
        heads = "one head" if probe.group == "head" else "the heads that share their keys"
        how = f"when the edge is knocked out in {heads} of a layer alone, or the output of {heads} is replaced."
        window = f"Window: {probe.window} layer{'s' if probe.window > 1 else ''}."
        return f"{measured} {how} {MARKS} {window}"

    def describe(self, rows: pl.DataFrame, probe: HeadsProbe, features: pl.DataFrame | None) -> str:
        """For each intervention, the strongest heads over all tasks, and how stable the ranks are."""
        parts = []
        strongest = self.shown.strongest.format(answer=ANSWERS[probe.follow])
        for (name,), of_name in rows.group_by("intervention", maintain_order=True):
            best = self.shown.worst_first(of_name).row(0, named=True)
            text = f"{name_of(str(name))} {strongest} most in {_head(best)}, {best['task']}: {self.shown.mean(best)}"
            parts.append(f"{text}; {self._stability(of_name)}.")
        return " ".join(parts)

    def effects(self, probe: HeadsProbe, summary: pl.DataFrame) -> EffectTable:
        """The strongest heads of each task and intervention, and the stability of their ranks."""
        lines = [f"{rank}." for rank in range(1, STRONGEST + 1)] + ["ranks of two halves"]
        rows: list[dict[str, Any]] = []
        for model in summary["model"].unique(maintain_order=True):
            shown = self.rows(summary, probe, model)
            for (task, name), of_name in shown.group_by(["task", "intervention"], maintain_order=True):
                cells: list[dict[str, str] | None] = [
                    self._cell(row) for row in self.shown.worst_first(of_name).head(STRONGEST).to_dicts()
                ]
                cells += [None] * (STRONGEST - len(cells))
                cells.append({"value": _correlation(of_name), "interval": self._overlap(of_name), "where": ""})
                rows.append({"model": model, "task": f"{task}, {name_of(str(name))}", "cells": cells})
            absent = summary.filter((pl.col("model") == model) & pl.col("mean").is_null())
            for row in absent.iter_rows(named=True):
                named = ", ".join(filter(None, [row["task"], name_of(row["intervention"])]))
                rows.append({"model": model, "task": named, "cells": [{"note": row["note"]}] * len(lines)})
        explanation = (
            f"The {STRONGEST} heads with the largest effect. Each interval (95 %) is that of one head; since the heads "
            "are chosen as the strongest of all, their effects are somewhat exaggerated. Last column: Spearman's "
            "correlation of all heads' effects between two halves of the images, and how many of the "
            f"{STRONGEST} strongest heads of one half are among those of the other."
        )
        return EffectTable(lines, rows, explanation)

    def _overlap(self, rows: pl.DataFrame) -> str:
        """The number of heads that are among the strongest of both halves of the images, as text."""
        both = rows.drop_nulls(HALF_NAMES).sort("layer", "head").with_row_index("number")
        tops = [
            set(both.sort(half, descending=not self.shown.lowest, maintain_order=True)["number"].head(STRONGEST))
            for half in HALF_NAMES
        ]
        return f"{len(tops[0] & tops[1])} of {min(STRONGEST, len(both))}"

    def _stability(self, rows: pl.DataFrame) -> str:
        """A phrase on the stability of the ranks in each task."""
        tasks = [
            f"{task} {_correlation(of_task)} ({self._overlap(of_task)})"
            for (task,), of_task in rows.group_by("task", maintain_order=True)
        ]
        return (
            "rank correlation of the heads between two halves of the images, and how many of the strongest are common: "
            f"{', '.join(tasks)}"
        )

    def _cell(self, row: dict[str, Any]) -> dict[str, str]:
        reading = self.shown.reading
        value, low, high = (reading.written(row[name]) for name in ("mean", "low", "high"))
        return {"value": value + reading.unit, "interval": f"[{low}, {high}]", "where": _head(row)}


def _head(row: dict[str, Any]) -> str:
    return f"head {row['head']} of layer {row['layer']}"


def _correlation(rows: pl.DataFrame) -> str:
    """The rank correlation of the heads' effects in two halves of the images, as text."""
    from scipy.stats import spearmanr

    both = rows.drop_nulls(HALF_NAMES)
    if any(both[half].n_unique() < 2 for half in HALF_NAMES):
        return "–"
    return unsigned(spearmanr(both["first_half"], both["second_half"]).statistic, 2)
