"""The effect on the answer, over the layers, of states that come from the run of another image."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import PatchingProbe

from .base import LineChart
from .captions import INTERVALS
from .panels import Axes
from .patch_chart import OWN_ANSWER, PatchChart

STRONGEST = 3  # segments that the sentence names


class PatchingChart(PatchChart, LineChart[PatchingProbe]):
    """The effect of patches over the layers, a line per segment, a panel per task, direction and site."""

    draws: ClassVar = (PatchingProbe,)

    chart: Literal["patching"]

    def check(self, probe: PatchingProbe, name: str) -> None:
        """See `Chart.check`."""
        if probe.sites == ["head"]:
            raise ValueError(
                f"figures.{name}.chart: the probe {self.probe!r} patches only single heads; draw it as patching-heads"
            )

    def axes(self, probe: PatchingProbe) -> Axes:
        """See `SummaryChart.axes`."""
        title = "Layer" if probe.window == 1 else "Layer (middle of the window)"
        return Axes("segment", "layer", title, self.shown.y_title, ("task", "direction", "site"))

    def chosen_rows(self, rows: pl.DataFrame, probe: PatchingProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return self.of_measure(rows, heads=False)

    def caption(self, probe: PatchingProbe) -> str:
        """See `Chart.caption`."""
        sites = {"input": "the inputs of a layer", "attention": "the outputs of its attention", "mlp": "of its MLP"}
        named = " or ".join(name for site, name in sites.items() if site in probe.sites)
        return f"{self.patched(probe, f'states ({named})')} {INTERVALS}"

    def describe(self, rows: pl.DataFrame, probe: PatchingProbe, features: pl.DataFrame | None) -> str:
        """See `SummaryChart.describe`."""
        parts = []
        peaks = self.shown.worst_first(rows).unique("segment", keep="first", maintain_order=True)
        for best in peaks.head(STRONGEST).to_dicts():
            where = f"layer {best['layer']}, {best['task']} ({best['direction']}, {best['site']})"
            parts.append(
                f"patching {best['segment']} {self.shown.strongest.format(answer=OWN_ANSWER)} most at {where}: "
            )
            parts[-1] += self.shown.mean(best)
        return f"{'; '.join(parts)}."
