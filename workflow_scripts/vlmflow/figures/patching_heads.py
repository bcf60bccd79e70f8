"""The effect on the answer of single heads' outputs that come from the run of another image."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import PatchingProbe

from .atlas import MARKS
from .head_map import HeadMap
from .patch_chart import OWN_ANSWER, PatchChart


class PatchingHeadsChart(PatchChart, HeadMap[PatchingProbe]):
    """The effect of patching single heads: a row per head, a column per layer, a panel per task, direction and
    segment."""

    draws: ClassVar = (PatchingProbe,)
    divided_by: ClassVar = ("direction", "segment")

    chart: Literal["patching-heads"]

    def check(self, probe: PatchingProbe, name: str) -> None:
        """See `Chart.check`."""
        if "head" not in probe.sites:
            raise ValueError(
                f"figures.{name}.probe: the probe {self.probe!r} patches no single heads; add head to its sites"
            )

    def window(self, probe: PatchingProbe) -> int:
        """See `HeadMap.window`."""
        return probe.window

    def strongest(self, probe: PatchingProbe) -> str:
        """See `HeadMap.strongest`."""
        return self.shown.strongest.format(answer=OWN_ANSWER)

    def chosen_rows(self, rows: pl.DataFrame, probe: PatchingProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return self.of_measure(rows, heads=True)

    def caption(self, probe: PatchingProbe) -> str:
        """See `Chart.caption`."""
        return f"{self.patched(probe, 'the outputs of one head')} {MARKS}"
