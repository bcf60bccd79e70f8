"""Loss over the number of image tokens that are kept; [thesis]."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import BudgetProbe

from .base import LineChart
from .captions import INTERVALS
from .curve_feature_tables import PLACE, SAMPLE, interval, number
from .effects import Reading
from .numbers import bracketed, span
from .panels import Axes

if TYPE_CHECKING:
    from .marks.lines import LineChartData


class BudgetChart(LineChart[BudgetProbe]):
    """Loss over the number of the image's tokens that are kept, with the knee."""

    draws: ClassVar = (BudgetProbe,)
    reading: ClassVar = Reading("Lowest mean loss, in nats per token", lowest=True, position="tokens:", by_panel=True)
    tabulates_curve_features: ClassVar = True

    chart: Literal["budget"]
    by: Literal["keep", "prompt"] = Field("keep", description="A line for each way to keep tokens, or for each prompt.")

    @property
    def curve_features_shown(self) -> bool:
        """Whether the figure shows knees."""
        return True

    def axes(self, probe: BudgetProbe) -> Axes:
        """See `SummaryChart.axes`."""
        line, panel = ("keep", "prompt") if self.by == "keep" else ("prompt", "keep")
        titles = ("Image tokens kept", "Loss, nats per token")
        return Axes(line, "tokens_kept", *titles, ("task", panel), doubling=True, zero=False)

    def known_lines(self, probe: BudgetProbe) -> Iterable[str]:
        """See `LineChart.known_lines`."""
        return probe.prompts if self.by == "prompt" else super().known_lines(probe)

    def chosen_rows(self, rows: pl.DataFrame, probe: BudgetProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        # A curve must be over the same images everywhere, so a number of tokens that only some images have is left out.
        most = pl.col("questions").max().over("task", "prompt", "keep")
        return rows.filter(pl.col("questions") == most).sort("tokens_kept", maintain_order=True)

    def with_curve_features(self, data: "LineChartData", features: pl.DataFrame) -> "LineChartData":
        """The lines with a ring at each knee."""
        from .marks.curve_features import with_knee_marks

        return with_knee_marks(data, features)

    def caption(self, probe: BudgetProbe) -> str:
        """See `Chart.caption`."""
        text = (
            "Loss of the reference answer (mean over its tokens) when only some of the image's tokens are kept. A ring "
            f"marks the knee of a curve that has one; its bar is the 95 % interval. {INTERVALS}"
        )
        return f"{text} Random tokens: the mean over {probe.draws} draws." if "random" in probe.keep else text

    def describe(self, rows: pl.DataFrame, probe: BudgetProbe, features: pl.DataFrame | None) -> str:
        """The loss without and with the image, and the number of tokens beyond which more tokens help little."""
        text = f"the figure keeps up to {max(rows['tokens_kept']):.0f} tokens."
        return text if features is None or not len(features) else f"{text} {_describe_knees(features)}"

    @classmethod
    def curve_feature_rows(cls, features: pl.DataFrame) -> pl.DataFrame:
        """The table of knees as a reader sees it."""
        enough = pl.format(
            "{} [{}, {}]",
            *(
                number(name, 0)
                for name in ("tokens_for_95_percent", "tokens_for_95_percent_low", "tokens_for_95_percent_high")
            ),
        )
        return features.select(
            *PLACE,
            pl.col("keep").alias("Kept"),
            number("knee", 0).alias("Knee, tokens"),
            interval().alias("95 % interval"),
            number("knee_found_percent", 0).alias("Resamples with a knee, %"),
            enough.alias("Enough for 95 % of the decrease, tokens"),
            number("loss_without_image", 2).alias("Loss without the image, nats per token"),
            number("loss_at_knee", 2).alias("Loss at the knee"),
            number("loss_all_tokens", 2).alias("Loss with all tokens"),
            *SAMPLE,
        )


def _describe_knees(curves: pl.DataFrame) -> str:
    """The loss without and with the image, the knees, and the number of tokens that is enough, over all curves."""
    knees = curves.drop_nulls("knee")
    found = f"{len(knees)} of {len(curves)} curves" if len(curves) > 1 else "the curve"
    if not len(knees):
        found = "no curve has a knee"
    elif len(curves) == 1:
        row = knees.row(0, named=True)
        found = f"its knee is at {row['knee']:.0f}{bracketed(row['low'], row['high'])} tokens"
    else:
        found += f" have a knee, at {span(knees['knee'])} tokens"
    ends = [span(curves[name], 2) for name in ("loss_without_image", "loss_all_tokens")]
    enough = span(curves["tokens_for_95_percent"])
    return (
        f"The loss falls from {ends[0]} without the image to {ends[1]} nats per token with it; {found}; 95 % of the "
        f"decrease takes {enough} tokens."
    )
