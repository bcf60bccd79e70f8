"""Logit lens at the last position; [flow] equation 8."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import SampleProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT

WORDS = ("capitalised answer", "lowercase answer", "capitalised false option", "false option")


class LensProbe(SampleProbe):
    """Logit lens at the last position: the answer and the false option, each in lowercase and with a capital."""

    chapter: ClassVar = Chapter.DECODED
    table: ClassVar = Table(
        "lens",
        ABOUT
        | {
            "layer": Column(pl.Int32, "layer after which is read, from 0; −1 is the embedding"),
            "word": Column(pl.String, f"one of: {', '.join(WORDS)}"),
            "probability": Column(pl.Float64, "of the word's first token at the last position"),
        },
    )
    averaging: ClassVar = Averaging(by=("word", "layer"), quantities=("probability",))

    kind: Literal["lens"]
    final_norm: bool = Field(
        True, description="Apply the final norm to inner states before reading them; the code of [flow] does not."
    )

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        return list(WORDS) if column == "word" else super().values_measured(column)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return Work(forward(), 1)
