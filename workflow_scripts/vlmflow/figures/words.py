"""Similarity of the words that the question predicts to the intact model's; [flow] appendices D and K."""

from typing import ClassVar, Literal

import polars as pl

from vlmflow.probes import WordsProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .knockout_texts import window_text
from .numbers import span, with_interval
from .panels import Axes
from .style import name_of


class WordsChart(LineChart[WordsProbe]):
    """Jaccard similarity of the predicted words over the layers, a panel per task, a line per module or edge."""

    draws: ClassVar = (WordsProbe,)
    reading: ClassVar = Reading("Lowest mean similarity over the layers", lowest=True)

    chart: Literal["words"]

    def axes(self, probe: WordsProbe) -> Axes:
        """See `SummaryChart.axes`."""
        layer = "middle" if probe.edges else "first"
        if probe.edges and probe.modules:
            layer = "edges: middle, modules: first"
        return Axes("intervention", "layer", f"Layer ({layer} of the window)", "Jaccard similarity")

    def caption(self, probe: WordsProbe) -> str:
        """See `Chart.caption`."""
        layers = window_text(probe.window)
        interventions = []
        if probe.modules:
            interventions.append(
                f"a module's output is set to zero at the question's positions in {layers} from each layer on"
            )
        if probe.edges:
            interventions.append(f"the edge is knocked out in a window of {layers} around each layer")
        sets = "as one set for the whole question" if probe.pooled else "position by position"
        return (
            f"Jaccard similarity of the {probe.top} words that each position of the question predicts at the last "
            f"layer, {sets}, to those of the intact model, when {' or '.join(interventions)}. {INTERVALS}"
        )

    def describe(self, rows: pl.DataFrame, probe: WordsProbe, features: pl.DataFrame | None) -> str:
        """The lowest similarity of the predicted words, and the similarity at the last layer."""
        sentences = []
        for name in map(str, rows["intervention"].unique(maintain_order=True)):
            group = rows.filter(pl.col("intervention") == name)
            worst = group.sort("mean").row(0, named=True)
            last = span(group.filter(pl.col("layer") == group["layer"].max())["mean"], 2)
            sentences.append(
                f"{name_of(name)}: similarity falls to {with_interval(worst)} at layer {worst['layer']} in "
                f"{worst['task']}; at the last layer it is {last}{', depending on the task' if ' ' in last else ''}."
            )
        return " ".join(sentences)
