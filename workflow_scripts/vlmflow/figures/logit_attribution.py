"""What each head and MLP adds directly to the answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import LogitAttributionProbe

from .atlas import MARKS
from .effects import Reading
from .head_map import HeadMap
from .measures import Shown
from .panels import FigureData, Frame, Layout

if TYPE_CHECKING:
    import altair as alt

# Losses and gains are both of interest; the largest positive contribution is called the strongest.
COLORS = ("#7f3b08", "#f08c2e", "#ffffff", "#2171b5", "#08306b")
STOPS = (-4, -1, 0, 1, 4)


class LogitAttributionChart(HeadMap[LogitAttributionProbe]):
    """What each head adds directly: a row per head and for the MLP, a column per layer, a panel per task."""

    draws: ClassVar = (LogitAttributionProbe,)
    divided_by: ClassVar = ("quantity",)

    chart: Literal["logit-attribution"]
    quantity: Literal["logit", "margin"] = Field(
        "logit", description="What a part adds to the answer's logit, or to the margin between the options."
    )

    @property
    def shown(self) -> Shown:
        """See `HeadMap.shown`."""
        what = "the answer's logit" if self.quantity == "logit" else "the margin between the options"
        return Shown(
            f"Direct contribution to {'logit' if self.quantity == 'logit' else 'margin'}",
            f"What each part adds directly to {what}",
            "Largest direct contribution",
            f"adds to {what}",
            0.01,
            2,
            "",
            STOPS,
            COLORS,
            lowest=False,
        )

    @property
    def reading(self) -> Reading:
        """See `SummaryChart.reading`."""
        return self.shown.reading

    def window(self, probe: LogitAttributionProbe) -> int:
        """See `HeadMap.window`."""
        return 1

    def strongest(self, probe: LogitAttributionProbe) -> str:
        """See `HeadMap.strongest`."""
        return self.shown.strongest

    def chosen_rows(self, rows: pl.DataFrame, probe: LogitAttributionProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`; the MLP is the row below the heads."""
        shown = pl.col("part").is_in(["head", "mlp"])
        return rows.filter(pl.col("quantity") == self.quantity, shown)

    def draw_rows(
        self, rows: pl.DataFrame, probe: LogitAttributionProbe, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`; each part is of one layer."""
        return super().draw_rows(rows.with_columns(window=pl.lit(1)), probe, frame, data, layout)

    def head_names(self, rows: pl.DataFrame) -> Mapping[int, str]:
        """See `HeadMap.head_names`."""
        heads = super().head_names(rows.filter(pl.col("head") >= 0))
        return {**heads, -1: "MLP"}

    def caption(self, probe: LogitAttributionProbe) -> str:
        """See `Chart.caption`."""
        return (
            f"{self.shown.caption} at the last position, not by way of later layers; the scale of the final norm is "
            f"frozen. The logit is less the mean over the vocabulary. {MARKS}"
        )
