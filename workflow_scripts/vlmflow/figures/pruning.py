"""Accuracy, work and time without image tokens in the last layers; [flow] figure 14."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import PruningProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .panels import Axes

TOLERATED = 1.0  # percentage points of correct answers


class PruningChart(LineChart[PruningProbe]):
    """Accuracy, work and time over the number of layers without image tokens, a panel per task."""

    draws: ClassVar = (PruningProbe,)
    reading: ClassVar = Reading("Lowest mean", lowest=True, position="last layers:", digits=1, unit=" %")

    chart: Literal["pruning"]

    def axes(self, probe: PruningProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("quantity", "layers_dropped", "Last layers without image tokens", "Percent")

    def caption(self, probe: PruningProbe) -> str:
        """See `Chart.caption`."""
        asked = f"up to {probe.questions} questions" if probe.questions else "all questions"
        text = (
            "The image's tokens are dropped in the last layers, for the prompt and for decoding. Correct answers: "
            f"percentage of {asked} that were asked, not only of those that the intact model answers correctly. "
            f"{INTERVALS}"
        )
        time = " Time: the fastest of three runs, on up to {} questions per task."
        return text + (time.format(probe.timed) if probe.timed else "")

    def describe(self, rows: pl.DataFrame, probe: PruningProbe, features: pl.DataFrame | None) -> str:
        """In how many of the last layers the tokens can be left out before answers get worse, and what that saves."""
        found = {str(task): _layers_to_spare(group) for (task,), group in rows.group_by("task", maintain_order=True)}
        spared = [f"{task} {text}" for task, text in found.items() if text is not None]
        unjudged = [task for task, text in found.items() if text is None]
        sentences = []
        if spared:
            sentences.append(
                "last layers in which the image's tokens can be left out with a loss of at most one percentage point "
                f"of correct answers: {'; '.join(spared)}."
            )
        if unjudged:
            sentences.append(
                f"{', '.join(unjudged)}: these questions have no correct answer, so there is no accuracy to lose."
            )
        return " ".join(sentences)


def _layers_to_spare(rows: pl.DataFrame) -> str | None:
    """The largest number of layers up to which accuracy stays, with work and time; None without an accuracy."""
    values = {(row["quantity"], row["layers_dropped"]): row["mean"] for row in rows.to_dicts()}
    numbers = sorted(last for quantity, last in values if quantity == "accuracy")
    if not numbers:
        return None
    intact = values["accuracy", numbers[0]]
    kept = [n for n in numbers if all(values["accuracy", m] >= intact - TOLERATED for m in numbers if m <= n)]
    most = max(kept)
    time = f", time {values['time', most]:.0f} %" if ("time", most) in values else ""
    return f"up to {most} (work {values['work', most]:.0f} %{time})"
