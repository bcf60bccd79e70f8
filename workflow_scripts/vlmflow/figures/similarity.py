"""Contextualisation: cosine similarity between and within image and text; [phase], [thesis]."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from vlmflow.probes import SimilarityProbe
from vlmflow.probes.similarity import PHASE_NAMES

from .base import LineChart
from .captions import INTERVALS
from .curve_feature_tables import PLACE, SAMPLE, interval, number
from .effects import Reading
from .numbers import bracketed, span, with_interval
from .panels import Axes

if TYPE_CHECKING:
    from .marks.lines import LineChartData

QUANTITIES = {
    "corrected": "The similarity of tokens of unrelated questions is subtracted, since all states share one direction.",
    "raw": "No correction is made for the direction that all states share.",
    "unrelated": "The tokens are of unrelated questions: their similarity is the direction that all states share.",
}
PHASES = (
    "Grey and white bands: phases in which all three curves change steadily, as many as the curves support. Darker "
    "bands: the 95 % interval of a phase's start. The curves support the smallest number of phases that describes at "
    "least 95 % of their variance, apart from the variance that sampling error explains."
)


class SimilarityChart(LineChart[SimilarityProbe]):
    """Mean cosine similarity over the layers."""

    draws: ClassVar = (SimilarityProbe,)
    reading: ClassVar = Reading("Highest mean similarity over the layers", by_panel=True)
    tabulates_curve_features: ClassVar = True

    chart: Literal["similarity"]
    by: Literal["pair", "prompt"] = Field(
        "pair",
        description="pair: a line for image and text, within image, and within text; prompt: a panel for each of "
        "these, and a line per prompt.",
    )
    quantity: Literal["corrected", "raw", "unrelated"] = Field(
        "corrected",
        description="corrected: minus the similarity of unrelated questions; raw: without this correction; unrelated: "
        "the similarity of unrelated questions.",
    )
    phases: bool = Field(False, description="Bands for the phases that the curves support; only with by: pair.")

    @model_validator(mode="after")
    def _phases_are_of_pairs(self) -> "SimilarityChart":
        if self.phases and (self.by != "pair" or self.quantity != "corrected"):
            raise ValueError("phases: they are found on the three corrected curves; remove the keys by and quantity")
        return self

    @property
    def curve_features_shown(self) -> bool:
        """Whether the figure shows phases."""
        return self.phases

    def axes(self, probe: SimilarityProbe) -> Axes:
        """See `SummaryChart.axes`."""
        line, panel = ("pair", "prompt") if self.by == "pair" else ("prompt", "pair")
        return Axes(line, "layer", "Layer (−1: the embedding)", "Mean cosine similarity", ("task", panel))

    def known_lines(self, probe: SimilarityProbe) -> Iterable[str]:
        """See `LineChart.known_lines`."""
        return probe.prompts if self.by == "prompt" else super().known_lines(probe)

    def chosen_rows(self, rows: pl.DataFrame, probe: SimilarityProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        return rows.filter(pl.col("quantity") == self.quantity)

    def with_curve_features(self, data: "LineChartData", features: pl.DataFrame) -> "LineChartData":
        """The lines with bands for phases."""
        from .marks.curve_features import with_phase_bands

        return with_phase_bands(data, features)

    def caption(self, probe: SimilarityProbe) -> str:
        """See `Chart.caption`."""
        text = (
            "Mean cosine similarity of the states of all pairs of tokens: between tokens of the image and of the text "
            f"(the prompt's own words), and within each of the two. {QUANTITIES[self.quantity]} {INTERVALS}"
        )
        return f"{text} {PHASES}" if self.phases else text

    def describe(self, rows: pl.DataFrame, probe: SimilarityProbe, features: pl.DataFrame | None) -> str:
        """The highest similarity of image and text, or the largest difference between prompts; and the phases."""
        between = rows.filter(pl.col("pair") == "image and text").sort("mean", descending=True, maintain_order=True)
        if self.by == "prompt":
            return _largest_difference(between)
        best = between.row(0, named=True)
        text = (
            f"image and text are most similar in {best['task']}, prompt {best['prompt']}: {with_interval(best)} after "
            f"layer {best['layer']}."
        )
        return f"{text} {_describe_phases(features)}" if self.phases and features is not None else text

    @classmethod
    def curve_feature_rows(cls, features: pl.DataFrame) -> pl.DataFrame:
        """The table of phases as a reader sees it."""
        supported = pl.col("phase_count").cast(pl.String)
        with_share = pl.format("{} (in {} % of the resamples)", supported, number("agreement", 0))
        return features.select(
            *PLACE,
            pl.when(pl.col("agreement").is_null()).then(supported).otherwise(with_share).alias("Phases supported"),
            pl.format("{} of {}", "phase", "phases").alias("Phase"),
            pl.col("name").alias("Name"),
            pl.format("{} to {}", number("first_layer", 0), number("last_layer", 0)).alias("After layers"),
            interval(pl.col("phase") > 1).alias("Begins, 95 % interval"),
            _slope("between").alias("Image and text, change per layer"),
            _slope("within_image").alias("Within image"),
            _slope("within_text").alias("Within text"),
            *SAMPLE,
        )


def _slope(column: str) -> pl.Expr:
    """A slope with its interval, as text."""
    known = pl.col(f"{column}_low").is_not_null()
    ends = pl.format(" [{}, {}]", number(f"{column}_low", 3), number(f"{column}_high", 3))
    return pl.format("{}{}", number(column, 3), pl.when(known).then(ends).otherwise(pl.lit("")))


def _largest_difference(rows: pl.DataFrame) -> str:
    """The largest difference between prompts in the similarity of image and text."""
    spread = rows.group_by("task", "layer", maintain_order=True).agg(pl.col("mean").max() - pl.col("mean").min())
    widest = spread.sort("mean", descending=True, maintain_order=True).row(0, named=True)
    return (
        f"between prompts, the similarity of image and text differs by at most {widest['mean']:.2g} "
        f"({widest['task']}, after layer {widest['layer']})."
    )


def _describe_phases(phases: pl.DataFrame) -> str:
    """The number of phases that the curves of each task and prompt support, and where the later ones begin."""
    supported = phases.filter(pl.col("phases") == pl.col("phase_count"))
    if not len(supported):
        return ""
    first, later = supported.filter(pl.col("phase") == 1), supported.filter(pl.col("phase") > 1)
    count = span(first["phases"])
    text = f"The curves support {count} phase{'s' if count != '1' else ''}"
    named = len(first.filter(pl.col("phases") == len(PHASE_NAMES), pl.col("name").is_not_null()))
    text += f", the paper's four in {named} of {len(first)} cases" if named else ", not the paper's four"
    if agreement := first["agreement"].drop_nulls().to_list():
        text += f" (in {span(agreement)} % of the resamples)"
    if len(later) == 1:
        row = later.row(0, named=True)
        text += f"; the later one begins after layer {row['first_layer']}{bracketed(row['low'], row['high'])}"
    elif len(later):
        text += f"; the later ones begin after layers {span(later['first_layer'])}"
    return f"{text}."
