"""Alignment of the states to the unembedding: entropy and agreement of the next tokens that they predict; [phase]."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import OutputLensProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .numbers import with_interval
from .panels import Axes


@dataclass(frozen=True)
class _Quantity:
    """A quantity of the output lens that a figure can show: title of the y axis, and the caption's first sentence."""

    y_title: str
    caption: str


QUANTITIES = {
    "entropy": _Quantity(
        "Entropy, bits",
        "Entropy of the next-token distribution that the state after each layer predicts, read through the final norm "
        "and the unembedding.",
    ),
    "agreement": _Quantity(
        "Agreement with the output, %",
        "Percentage of positions at which the most probable next token, read from the state after each layer through "
        "the final norm and the unembedding, is the one that the model's own output predicts at this position. After "
        "the last layer it is 100 % by construction.",
    ),
}
# The words of legends and captions; the study file has the segments' own names.
NAMES = {"image": "image", "question": "question", "template": "template", "last": "last position"}
MEANING = {
    "image": "the image's tokens",
    "question": "the prompt's own words",
    "template": "the tokens between the question and the last position",
    "last": "the position from which the answer is predicted",
}


class OutputLensChart(LineChart[OutputLensProbe]):
    """Entropy, or agreement with the model's output, over the layers, with a line per segment."""

    draws: ClassVar = (OutputLensProbe,)
    reading: ClassVar = Reading("Highest mean before the last layer", by_panel=True)

    chart: Literal["output-lens"]
    quantity: Literal["entropy", "agreement"] = Field(
        "entropy",
        description="entropy: of the predicted next token, in bits; agreement: positions with the same most probable "
        "next token as the model's output.",
    )

    def axes(self, probe: OutputLensProbe) -> Axes:
        """See `SummaryChart.axes`."""
        y_title = QUANTITIES[self.quantity].y_title
        return Axes("segment", "layer", "Layer (−1: the embedding)", y_title, ("task", "prompt"))

    def known_lines(self, probe: OutputLensProbe) -> Iterable[str]:
        """See `LineChart.known_lines`; the order of the prompt."""
        return NAMES

    def line_names(self, lines: Iterable[str], probe: OutputLensProbe) -> dict[str, str]:
        """See `SummaryChart.line_names`."""
        return {line: NAMES.get(line, line) for line in lines}

    def chosen_rows(self, rows: pl.DataFrame, probe: OutputLensProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return rows.filter(pl.col("quantity") == self.quantity)

    def tabulated(self, rows: pl.DataFrame, probe: OutputLensProbe) -> pl.DataFrame:
        """See `SummaryChart.tabulated`; after the last layer all agree with the output, which is no effect."""
        before = pl.col("layer") < pl.col("layer").max().over("model")
        return rows.filter(before | pl.col("mean").is_null())

    def caption(self, probe: OutputLensProbe) -> str:
        """See `Chart.caption`."""
        lines = "; ".join(f"{NAMES[segment]} ({MEANING[segment]})" for segment in probe.segments)
        return f"{QUANTITIES[self.quantity].caption} Mean over the positions of a segment: {lines}. {INTERVALS}"

    def describe(self, rows: pl.DataFrame, probe: OutputLensProbe, features: pl.DataFrame | None) -> str:
        """The line whose entropy changes most; or the lines that agree with the output first and last."""
        several = rows["prompt"].n_unique() > 1
        lines = {
            f"{task}, {f'prompt {prompt}, ' if several else ''}{NAMES[segment]}": line.sort("layer").to_dicts()
            for (segment, task, prompt), line in rows.group_by("segment", "task", "prompt", maintain_order=True)
        }
        return _describe_entropy(lines) if self.quantity == "entropy" else _describe_agreement(lines)


def _describe_entropy(lines: dict[str, list[dict[str, Any]]]) -> str:
    """The line with the largest change from the embedding to the last layer."""
    place, line = max(lines.items(), key=lambda each: abs(each[1][-1]["mean"] - each[1][0]["mean"]))
    return (
        f"the entropy changes most in {place}: from {with_interval(line[0])} bits after the embedding to "
        f"{with_interval(line[-1])} after layer {line[-1]['layer']}."
    )


def _describe_agreement(lines: dict[str, list[dict[str, Any]]]) -> str:
    """The lines of which more than half of the positions agree with the output up to the last layer, from the first
    and from the last layer on."""
    starts = {
        # After the last layer all agree, so that some layer is always found.
        place: max((number + 1 for number, row in enumerate(line[:-1]) if row["mean"] <= 50), default=0)
        for place, line in lines.items()
    }
    ends = []
    for place in dict.fromkeys(pick(starts, key=lambda each: starts[each]) for pick in (min, max)):
        row = lines[place][starts[place]]
        since = f"layer {row['layer']}" if starts[place] else "the embedding"
        ends.append(f"from {since} on ({place}: {with_interval(row, 1, ' %')})")
    parts = ends if len(ends) == 1 else [f"{when} {end}" for when, end in zip(("first", "last"), ends, strict=True)]
    return f"more than half of the positions predict the output's token {', '.join(parts)}."
