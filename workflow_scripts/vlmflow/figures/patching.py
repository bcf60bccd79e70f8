"""The effect on the answer of states that come from the run of another image."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import PatchingProbe
from vlmflow.probes.measures import Measure
from vlmflow.settings import Strict

from .atlas import MARKS
from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .head_map import HeadMap
from .measures import SHOWN, Shown
from .panels import Axes

PatchMeasure = Literal["towards", "becomes"] | Measure
GAIN = ("#ffffff", "#9ecae1", "#2171b5", "#08306b")
SHOWN_OF_PATCHES: dict[str, Shown] = {
    "towards": Shown(
        "Way to the other answer, %",
        "How far the answer moves to that of the run from which the states come, by the difference of their "
        "log-probabilities (0 %: not at all, 100 %: to what that run itself gives),",
        "Largest mean way to the other answer over the layers",
        "moves the answer",
        1.0,
        1,
        " %",
        (0, 12.5, 50, 100),
        GAIN,
        lowest=False,
    ),
    "becomes": Shown(
        "Answers that become the other, %",
        "Percentage of questions whose most probable token becomes the answer of the run from which the states come,",
        "Largest mean share of answers that become the other one over the layers",
        "turns the answer into the other one",
        1.0,
        1,
        " %",
        (0, 12.5, 50, 100),
        GAIN,
        lowest=False,
    ),
    **{str(name): shown for name, shown in SHOWN.items()},
}
OWN_ANSWER = "the run's own answer"
RUNS = {
    "noise": "those of the same question about another image in the question's own run (noise)",
    "denoise": "those of the question in the run of the same question about another image (denoise)",
}


class _PatchChart(Strict):
    """What the charts of patches share."""

    measure: PatchMeasure = Field(
        "towards",
        description="towards: how far the answer moves to that of the other run, in percent; becomes: percentage of "
        "answers that become it; or a measure of any intervention: change, margin, log_prob, flips.",
    )

    @property
    def shown(self) -> Shown:
        """How the measure is shown."""
        return SHOWN_OF_PATCHES[self.measure]

    @property
    def reading(self) -> Reading:
        """See `SummaryChart.reading`."""
        return self.shown.reading

    def of_measure(self, rows: pl.DataFrame, *, heads: bool) -> pl.DataFrame:
        """The rows of the measure, of single heads or of whole sites."""
        of_heads = pl.col("site") == "head"
        return rows.filter(pl.col("quantity") == self.measure, of_heads if heads else of_heads.not_())

    def patched(self, probe: PatchingProbe, sites: str) -> str:
        """The sentences of a caption: the measure, the states, and the layers."""
        measured = self.shown.caption.format(answer=OWN_ANSWER)
        states = " or ".join(RUNS[direction] for direction in probe.directions)
        window = f"in {probe.window} layers around each layer" if probe.window > 1 else "in one layer"
        return f"{measured} when {sites} at the positions of a segment are replaced {window} by {states}."


class PatchingChart(_PatchChart, LineChart[PatchingProbe]):
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
        for (segment,), of_segment in rows.group_by("segment", maintain_order=True):
            best = self.shown.worst_first(of_segment).row(0, named=True)
            where = f"layer {best['layer']}, {best['task']} ({best['direction']}, {best['site']})"
            parts.append(f"{segment} {self.shown.strongest.format(answer=OWN_ANSWER)} most at {where}: ")
            parts[-1] += self.shown.mean(best)
        return f"{'; '.join(parts)}."


class PatchingHeadsChart(_PatchChart, HeadMap[PatchingProbe]):
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
