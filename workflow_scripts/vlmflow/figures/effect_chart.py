"""What the charts of all interventions share: the measure that they show."""

import polars as pl
from pydantic import Field

from vlmflow.probes.measures import Measure
from vlmflow.settings import Strict

from .effects import Reading
from .measures import SHOWN, Shown


class EffectChart(Strict):
    """A chart of the effects of an intervention, by one of their measures."""

    measure: Measure = Field(
        "change",
        description="change: of the answer's probability, in percent; margin: change of the log-probability of the "
        "true option less that of the false one, in nats; log_prob: change of the answer's log-probability, in nats; "
        "flips: percentage of answers that become another one.",
    )

    @property
    def shown(self) -> Shown:
        """How the measure is shown."""
        return SHOWN[self.measure]

    @property
    def reading(self) -> Reading:
        """See `SummaryChart.reading`."""
        return self.shown.reading

    def of_measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of the measure."""
        return rows.filter(pl.col("quantity") == self.measure)
