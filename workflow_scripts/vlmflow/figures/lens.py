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
            "after the final norm, as the last state is"
            if probe.final_norm
            else "without the final norm, the last state with it"
        )
        return (
            "Probability of each word at the last position when the state after each layer is read through the "
            f"unembedding. {INTERVALS} Inner states are read {norm}; layer −1 is the embedding."
        )

    def describe(self, rows: pl.DataFrame, probe: LensProbe, features: pl.DataFrame | None) -> str:
        """Where the answer is most readable, and from which layer on its capitalised form leads."""
        words = rows.pivot(on="word", index=["task", "layer"], values="mean")
        best = words.sort("lowercase answer", descending=True).row(0, named=True)
        text = (
            f"the lowercase answer is most readable in {best['task']}, {best['lowercase answer']:.2f} after layer "
            f"{best['layer']}."
        )
        if starts := _capital_leads_from(words):
            first, last = min(starts), max(starts)
            span = f"layer {first}" if first == last else f"layers {first} to {last}, by task"
            text += f" The capitalised answer is ahead for good from {span}."
        return text


def _capital_leads_from(words: pl.DataFrame) -> list[int]:
    """For each task the layer from which on, to the last one, the capitalised answer is the more probable one.

    A task in which it is not ahead after the last layer has none.
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
