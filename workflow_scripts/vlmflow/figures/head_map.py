"""What the charts of single heads share: a heat map of heads and layers, and the strongest heads as a table."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import polars as pl

from vlmflow.settings import Strict

from .base import P, SummaryChart
from .effects import EffectTable
from .measures import Shown
from .numbers import unsigned
from .panels import Axes, FigureData, Frame, Layout, panel_name

if TYPE_CHECKING:
    import altair as alt

STRONGEST = 5  # heads that are named
HALF_NAMES = ["first_half", "second_half"]


class HeadMap(SummaryChart[P], Strict, Generic[P]):
    """A row per head, a column per layer, a panel per task and value of the columns `divided_by`."""

    table_has_all: ClassVar = True
    divided_by: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def shown(self) -> Shown:
        """How the measure is shown."""

    @abstractmethod
    def window(self, probe: P) -> int:
        """The number of layers in which a head is changed."""

    @abstractmethod
    def strongest(self, probe: P) -> str:
        """The words for the largest effect."""

    def head_names(self, rows: pl.DataFrame) -> Mapping[int, str]:
        """Head → its name in the figure, from the top to the bottom."""
        return {head: f"{head}" for head in rows["head"].unique().sort()}

    def axes(self, probe: P) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("head", "layer", "Layer", self.shown.y_title, ("task", *self.divided_by))

    def draw_rows(
        self, rows: pl.DataFrame, probe: P, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.heatmap import draw_heatmap

        return draw_heatmap(rows, self.axes(probe), frame, self.shown, self.window(probe), self.head_names(rows))

    def describe(self, rows: pl.DataFrame, probe: P, features: pl.DataFrame | None) -> str:
        """For each panel's kind, the strongest head over all tasks, and how stable the ranks are."""
        parts, strongest = [], self.strongest(probe)
        rows = rows.filter(pl.col("head") >= 0)
        for key, of_kind in rows.group_by(self.divided_by, maintain_order=True):
            best = self.shown.worst_first(of_kind).row(0, named=True)
            text = f"{self._named(key)} {strongest} most in {_head(best)}, {best['task']}: {self.shown.mean(best)}"
            parts.append(f"{text}; {self._stability(of_kind)}.")
        return " ".join(parts)

    def effects(self, probe: P, summary: pl.DataFrame) -> EffectTable:
        """The strongest heads of each panel, and the stability of their ranks."""
        lines = [*(f"{rank}." for rank in range(1, STRONGEST + 1)), "strongest of a half, on the other", "ranks"]
        rows: list[dict[str, Any]] = []
        for model in summary["model"].unique(maintain_order=True):
            shown = self.rows(summary, probe, model).filter(pl.col("head") >= 0)
            for (task, *key), of_panel in shown.group_by(["task", *self.divided_by], maintain_order=True):
                cells: list[dict[str, str] | None] = [
                    self._cell(row) for row in self.shown.worst_first(of_panel).head(STRONGEST).to_dicts()
                ]
                cells += [None] * (STRONGEST - len(cells))
                cells.append(self._on_other_half(of_panel))
                cells.append({"value": _correlation(of_panel), "interval": self._overlap(of_panel), "where": ""})
                rows.append({"model": model, "task": f"{task}, {self._named(key)}", "cells": cells})
            absent = summary.filter((pl.col("model") == model) & pl.col("mean").is_null())
            for row in absent.iter_rows(named=True):
                named = ", ".join(filter(None, [row["task"], self._named([row[name] for name in self.divided_by])]))
                rows.append({"model": model, "task": named, "cells": [{"note": row["note"]}] * len(lines)})
        explanation = (
            f"The {STRONGEST} heads with the largest effect. Each interval (95 %) is that of one head; since the heads "
            "are chosen as the strongest of all, their effects are somewhat exaggerated. The next column is not: the "
            "strongest head of one half of the images, measured on the other half, both ways and averaged, with the "
            "interval of this, for which the strongest is found anew in each resample. Last column: Spearman's "
            "correlation of all heads' effects between the two halves, and how many of the "
            f"{STRONGEST} strongest heads of one half are among those of the other."
        )
        return EffectTable(lines, rows, explanation)

    def _named(self, key: Any) -> str:
        """The name of what a panel shows besides its task."""
        named = (panel_name(column, value) for column, value in zip(self.divided_by, key, strict=True) if value)
        return ", ".join(named)

    def _on_other_half(self, rows: pl.DataFrame) -> dict[str, str] | None:
        """The effect of the strongest head of one half on the other half, both ways and averaged."""
        both = rows.drop_nulls(HALF_NAMES)
        if not len(both):
            return None
        effects = [
            both.sort(chosen, descending=not self.shown.lowest, maintain_order=True)[measured][0]
            for chosen, measured in (HALF_NAMES, HALF_NAMES[::-1])
        ]
        reading, top = self.shown.reading, self.shown.worst_first(rows).row(0, named=True)
        ends = [top["extreme_low"], top["extreme_high"]]
        interval = "" if None in ends else f"[{', '.join(map(reading.written, ends))}]"
        return {"value": reading.written(sum(effects) / 2) + reading.unit, "interval": interval, "where": ""}

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
