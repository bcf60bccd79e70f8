"""What the charts of patches share: the measures, and the sentences of a caption."""

from typing import Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import PatchingProbe
from vlmflow.probes.measures import Measure
from vlmflow.settings import Strict

from .effects import Reading
from .measures import SHOWN, Shown

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


class PatchChart(Strict):
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
