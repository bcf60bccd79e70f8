"""Answers, work and time without the image's tokens in the last layers; [flow] appendix F."""

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import Probe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import DECODED, Work, forward
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT

RUNS = 4  # timed decodings per number of layers
TOKENS = ("image tokens", "question tokens")  # numbers of the intact prompt


def percentages(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table `pruning` with the columns accuracy, work and time, in percent, and the numbers of tokens."""
    shares = {
        "accuracy": pl.col("correct").cast(pl.Float64),
        "work": pl.col("work_share"),
        "time": pl.col("time_share"),
    }
    intact = pl.col("layers_dropped") == 0
    numbers = {name: pl.when(intact).then(pl.col(name.replace(" ", "_")).cast(pl.Float64)) for name in TOKENS}
    percent = {name: 100 * share for name, share in shares.items()}
    return rows.select("question_id", "image_id", "layers_dropped", **percent, **numbers)


class PruningProbe(Probe):
    """Accuracy, work and time when the image's tokens are dropped in the last layers; over all questions asked."""

    chapter: ClassVar = Chapter.TOKENS
    table: ClassVar = Table(
        "pruning",
        ABOUT
        | {
            "layers_dropped": Column(pl.Int32, "in how many of the last layers there are no image tokens"),
            "predicted": Column(pl.String, "what the model then answers, greedily"),
            "correct": Column(
                pl.Boolean,
                "predicted is the answer, as the study's answers_match says; null: no answer is the correct one",
                nullable=True,
            ),
            "work_share": Column(pl.Float64, "token-layers of reading the prompt, as a share of the intact model's"),
            "image_tokens": Column(pl.Int32, "tokens of the image in the prompt"),
            "question_tokens": Column(pl.Int32, "tokens of the question's own words in the prompt"),
            "time_share": Column(
                pl.Float64, "seconds of reading and decoding, as a share of the intact model's", nullable=True
            ),
        },
    )
    averaging: ClassVar = Averaging(
        by=("quantity", "layers_dropped"),
        quantities=("accuracy", "work", "time", *TOKENS),
        prepare=percentages,
        shares=("accuracy",),
        columns={"quantity": Column(pl.String, "accuracy, work or time, in percent; image tokens or question tokens")},
    )

    renamed_keys: ClassVar = {"last": "layers_dropped"}

    kind: Literal["pruning"]
    layers_dropped: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(each_once("number of layers"))
    ] = Field(description="Numbers of last layers in which the image's tokens are dropped.")
    timed: int = Field(
        0, ge=0, description="Number of questions per task on which decoding is timed, with and without the tokens."
    )

    @model_validator(mode="after")
    def _intact_model_is_measured(self) -> "PruningProbe":
        if 0 not in self.layers_dropped:
            raise ValueError("layers_dropped: 0 is missing, the intact model with which the others are compared")
        return self

    @property
    def needs(self) -> str | None:
        """See `Probe.needs`."""
        return "image"

    @property
    def answers_analysed(self) -> Literal["any", "correct"]:
        """See `Probe.answers_analysed`; accuracy is over correct and wrong answers."""
        return "any"

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {"layers_dropped": max(self.layers_dropped)}

    choosing_keys: ClassVar = Probe.choosing_keys | {"timed"}
    uses_match: ClassVar = True

    @property
    def detailed(self) -> int:
        """See `Probe.detailed`."""
        return self.timed

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        runs = min(1.0, self.timed / max(1, questions)) * len(self.layers_dropped) * RUNS
        return Work(forward() + 1 + runs, 4 + runs * (1 + DECODED))
