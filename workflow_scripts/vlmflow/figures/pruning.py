"""Accuracy, work and time without image tokens in the last layers; [flow] figure 14."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import PruningProbe
from vlmflow.probes.pruning import TOKENS

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

    def chosen_rows(self, rows: pl.DataFrame, probe: PruningProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`; numbers of tokens are no percentages."""
        return rows.filter(~pl.col("quantity").is_in(TOKENS))

    def caption(self, probe: PruningProbe) -> str:
        """See `Chart.caption`."""
        questions = f"up to {probe.questions} questions" if probe.questions else "all questions"
        text = (
            "The image's tokens are dropped in the last layers, for the prompt and for decoding. Correct answers: "
            f"percentage of {questions} that were asked, not only of those that the intact model answers correctly. "
            f"{INTERVALS}"
        )
        time = " Time: the fastest of three runs, for up to {} questions per task."
        return text + (time.format(probe.timed) if probe.timed else "")

    def describe(self, rows: pl.DataFrame, probe: PruningProbe, features: pl.DataFrame | None) -> str:
        """The number of last layers that work without image tokens before answers get worse, with work and time."""
        found = {str(task): _layers_to_spare(group) for (task,), group in rows.group_by("task", maintain_order=True)}
        spared = sorted((most, task, text) for task, (most, text) in found.items() if most is not None)
        # The tasks with the fewest and with the most layers.
        with_accuracy = [f"{most} in {task} ({text})" for most, task, text in dict.fromkeys(spared[:1] + spared[-1:])]
        without_accuracy = [task for task, (most, _) in found.items() if most is None]
        sentences = []
        if with_accuracy:
            sentences.append(
                "number of last layers in which the image's tokens can be dropped with a loss of at most one "
                f"percentage point of correct answers: {' to '.join(with_accuracy)}."
            )
        if without_accuracy:
            sentences.append(
                f"{', '.join(without_accuracy)}: these questions have no correct answer, so accuracy is not defined."
            )
        return " ".join(sentences)


def _layers_to_spare(rows: pl.DataFrame) -> tuple[int | None, str]:
    """(the largest number of layers without a loss of accuracy, or None if no accuracy is defined; work and time)."""
    values = {(row["quantity"], row["layers_dropped"]): row["mean"] for row in rows.to_dicts()}
    numbers = sorted(last for quantity, last in values if quantity == "accuracy")
    if not numbers:
        return None, ""
    intact = values["accuracy", numbers[0]]
    kept = [n for n in numbers if all(values["accuracy", m] >= intact - TOLERATED for m in numbers if m <= n)]
    most = max(kept)
    time = f", time {values['time', most]:.0f} %" if ("time", most) in values else ""
    return most, f"work {values['work', most]:.0f} %{time}"
