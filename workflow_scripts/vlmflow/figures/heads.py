"""The effects of single heads: a heat map of heads and layers, and the strongest ones as a table."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import HeadsProbe

from .atlas import MARKS
from .effect_chart import EffectChart
from .head_map import HeadMap
from .measures import ANSWERS


class HeadsChart(EffectChart, HeadMap[HeadsProbe]):
    """A row per head, a column per layer, a panel per task and intervention."""

    draws: ClassVar = (HeadsProbe,)
    divided_by: ClassVar = ("intervention",)

    chart: Literal["heads"]

    def window(self, probe: HeadsProbe) -> int:
        """See `HeadMap.window`."""
        return probe.window

    def strongest(self, probe: HeadsProbe) -> str:
        """See `HeadMap.strongest`."""
        return self.shown.strongest.format(answer=ANSWERS[probe.follow])

    def chosen_rows(self, rows: pl.DataFrame, probe: HeadsProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        order = {name: rank for rank, name in enumerate(probe.interventions)}
        rank = pl.col("intervention").replace_strict(order, default=len(order), return_dtype=pl.Int32)
        return self.of_measure(rows).sort(rank, maintain_order=True)

    def head_names(self, rows: pl.DataFrame) -> Mapping[int, str]:
        """See `HeadMap.head_names`; heads that share their keys are next to each other."""
        shared = dict(rows.select("head", "key_head").unique().sort("head").iter_rows())
        sharing = len(set(shared.values())) < len(shared)
        return {head: f"{head} (keys {keys})" if sharing else f"{head}" for head, keys in shared.items()}

    def caption(self, probe: HeadsProbe) -> str:
        """See `Chart.caption`."""
        measured = self.shown.caption.format(answer=ANSWERS[probe.follow])
        heads = "one head" if probe.group == "head" else "the heads that share their keys"
        how = f"when the edge is knocked out in {heads} of a layer alone, or the output of {heads} is replaced."
        window = f"Window: {probe.window} layer{'s' if probe.window > 1 else ''}."
        return f"{measured} {how} {MARKS} {window}"
