"""Probability of the answer's words over the layers; [flow] figure 6."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import LensProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .panels import Axes


class LensChart(LineChart[LensProbe]):
    """Probability of the words over the layers, a panel per task, a line per word."""

    draws: ClassVar = (LensProbe,)
    reading: ClassVar = Reading("Highest mean probability over the layers")

    chart: Literal["lens"]

    def axes(self, probe: LensProbe) -> Axes:
        """See `SummaryChart.axes`."""
        return Axes("word", "layer", "Layer", "Probability")

    def caption(self, probe: LensProbe) -> str:
        """See `Chart.caption`."""
        norm = (
            "All states are read after the final norm"
            if probe.final_norm
            else "The last state is read after the final norm, all others without the final norm"
        )
        return (
            "Probability of each word at the last position when the state after each layer is read through the "
            f"unembedding. {INTERVALS} {norm}; layer −1 is the embedding."
        )

    def describe(self, rows: pl.DataFrame, probe: LensProbe, features: pl.DataFrame | None) -> str:
        """Where the answer is most probable, and from which layer on its capitalised form is more probable."""
        words = rows.pivot(on="word", index=["task", "layer"], values="mean")
        best = words.sort("lowercase answer", descending=True).row(0, named=True)
        text = (
            f"the probability of the lowercase answer is highest in {best['task']}: {best['lowercase answer']:.2f} "
            f"after layer {best['layer']}."
        )
        if starts := _capital_leads_from(words):
            first, last = min(starts), max(starts)
            span = f"layer {first}" if first == last else f"layer {first} to {last} (depending on the task)"
            text += f" The capitalised answer is more probable up to the last layer from {span} on."
        return text


def _capital_leads_from(words: pl.DataFrame) -> list[int]:
    """Per task, the first layer from which the capitalised answer is more probable up to the last layer.

    A task in which it is not more probable after the last layer is left out.
    """
    ahead = (
        words.sort("layer")
        .group_by("task")
        .agg(pl.col("layer"), pl.col("capitalised answer") > pl.col("lowercase answer"))
    )
    starts = []
    for _, layers, leads in ahead.iter_rows():
        behind = [layer for layer, leading in zip(layers, leads, strict=True) if not leading]
        if leads[-1]:
            starts.append(max(behind) + 1 if behind else layers[0])
    return starts
