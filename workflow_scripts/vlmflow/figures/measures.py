"""How figures show the measures of an intervention's effect: titles, units, readings and colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from vlmflow.probes.measures import Follow, Measure

from .effects import Reading
from .numbers import with_interval

ANSWERS: dict[Follow, str] = {
    "own": "the model's answer",
    "correct": "the correct answer",
    "false option": "the false option",
}
# Losses are dark, so that loss and gain differ in a grey print as well.
LOSS_AND_GAIN = ("#08306b", "#2171b5", "#9ecae1", "#ffffff", "#fdc28c", "#f08c2e")


@dataclass(frozen=True)
class Shown:
    """How a measure is shown.

    Attributes:
        y_title: of the y axis.
        caption: the first words of a caption, {answer} the answer that is followed.
        effect: what the table under a figure gives.
        strongest: the words for the largest effect, {answer} as above.
        negligible: size of an effect that is described as negligible.
        digits, unit: of a mean.
        stops, colors: of a heat map's colours; beyond both ends the colour stays the same.
        lowest: whether the largest effect is the lowest mean; else it is the highest.
    """

    y_title: str
    caption: str
    effect: str
    strongest: str
    negligible: float
    digits: int
    unit: str
    stops: Sequence[float]
    colors: Sequence[str] = LOSS_AND_GAIN
    lowest: bool = True

    @property
    def reading(self) -> Reading:
        """How the table under a figure shows the means."""
        return Reading(self.effect, lowest=self.lowest, digits=self.digits, unit=self.unit, signs=self.lowest)

    def worst_first(self, rows: pl.DataFrame, *further: str) -> pl.DataFrame:
        """The rows, those with the largest effect first; `further` columns decide between equal ones."""
        return rows.sort("mean", *further, descending=[not self.lowest, *(False for _ in further)], maintain_order=True)

    def negligible_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows whose whole interval is negligible."""
        if self.lowest:
            return rows.filter(pl.coalesce("extreme_low", "low") >= -self.negligible)
        return rows.filter(pl.coalesce("extreme_high", "high") <= self.negligible)

    def mean(self, row: dict[str, Any]) -> str:
        """The mean of a row of a summary, with its interval."""
        return with_interval(row, self.digits, self.unit, signs=self.lowest)


SHOWN: dict[Measure, Shown] = {
    "change": Shown(
        "Change in p(answer), %",
        "Relative change of the probability of {answer}",
        "Lowest mean change over the layers",
        "lowers the probability of {answer}",
        1.0,
        1,
        " %",
        (-100, -50, -12.5, 0, 25, 100),
    ),
    "margin": Shown(
        "Change in margin, nats",
        "Change of the margin, which is the log-probability of the true option less that of the false one,",
        "Lowest mean change of the margin over the layers",
        "lowers the margin between the options",
        0.1,
        2,
        " nats",
        (-8, -4, -1, 0, 2, 8),
    ),
    "log_prob": Shown(
        "Change in log p(answer), nats",
        "Change of the log-probability of {answer}",
        "Lowest mean change of the log-probability over the layers",
        "lowers the log-probability of {answer}",
        0.01,
        2,
        " nats",
        (-8, -4, -1, 0, 2, 8),
    ),
    "flips": Shown(
        "Answers that flip, %",
        "Percentage of questions to which the most probable token is another one",
        "Highest mean share of answers that flip over the layers",
        "flips the answer",
        1.0,
        1,
        " %",
        (0, 12.5, 50, 100),
        ("#ffffff", "#9ecae1", "#2171b5", "#08306b"),
        lowest=False,
    ),
}
