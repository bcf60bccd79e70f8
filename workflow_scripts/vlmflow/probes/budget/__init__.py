"""Loss with fewer of the image's tokens; [thesis]."""

from string import Formatter
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.curve_features import CurveFeatures
from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import ImageProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward, text_share, truncated_share
from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, FEATURE_INTERVAL, MODEL_TASK, PROMPT

ALL_TOKENS = -1  # in the column `number`: all of the image's tokens
KEEP = {"keep": Column(pl.String, "first, spread or random")}

KNEES = Table(
    "knees",
    MODEL_TASK
    | PROMPT
    | KEEP
    | {
        "knee": Column(pl.Float64, "number of image tokens from which on more of them help little", nullable=True),
        "knee_found_percent": Column(pl.Float64, "percent of the resamples that have a knee"),
        "tokens_for_95_percent": Column(
            pl.Float64, "tokens from which on the loss stays near its end, within 5 % of its fall"
        ),
        "tokens_for_95_percent_low": Column(pl.Float64, "lower end of its 95 % bootstrap interval", nullable=True),
        "tokens_for_95_percent_high": Column(pl.Float64, "upper end of its 95 % bootstrap interval", nullable=True),
        "loss_without_image": Column(pl.Float64, "loss without any of the image's tokens, nats per token"),
        "loss_at_knee": Column(pl.Float64, "loss at the knee, nats per token", nullable=True),
        "loss_all_tokens": Column(pl.Float64, "loss with all of them, nats per token"),
    }
    | FEATURE_INTERVAL,
)


def numbers_kept(tokens: int) -> list[int]:
    """The numbers of image tokens that are kept: 1, 2, 4, … less than `tokens`."""
    return [2**power for power in range(max(0, tokens - 1).bit_length())]


def _find_knees(rows: pl.DataFrame) -> pl.DataFrame:
    from .knees import find_knees

    return find_knees(rows)


class BudgetProbe(ImageProbe):
    """Loss of the reference answer when only some of the image's tokens are kept."""

    chapter: ClassVar = Chapter.TOKENS
    table: ClassVar = Table(
        "budget",
        ABOUT
        | PROMPT
        | KEEP
        | {
            "tokens_requested": Column(pl.Int32, "of the image's tokens that are kept; −1: all"),
            "tokens_kept": Column(pl.Int32, "how many these are"),
            "loss": Column(pl.Float64, "of the reference answer, nats per token"),
        },
    )
    averaging: ClassVar = Averaging(
        by=("prompt", "keep", "tokens_requested"),
        quantities=("loss",),
        position="tokens_kept",
        further={
            "tokens_kept": (
                Column(pl.Float64, "how many these are, mean over questions", nullable=True),
                pl.col("tokens_kept").mean(),
            )
        },
    )
    features: ClassVar = CurveFeatures(KNEES, _find_knees)

    kind: Literal["budget"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text; it may contain {question} and {object}.")
    keep: Annotated[list[Literal["first", "spread", "random"]], AfterValidator(each_once("way"))] = Field(
        ["first", "spread", "random"],
        min_length=1,
        description="The tokens that are kept: the first ones, evenly spread ones, or random ones.",
    )
    draws: int = Field(3, ge=1, description="Number of random choices of tokens; the loss is averaged over them.")

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        return list(self.prompts) if column == "prompt" else super().values_measured(column)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        numbers = numbers_kept(size.image_tokens)
        draws = sum(self.draws if way == "random" else 1 for way in self.keep)
        truncated = draws * sum(truncated_share(size, number) for number in numbers)
        prompts = len(self.prompts)
        return Work(prompts * (forward() + text_share(size) + truncated), prompts * (2 + draws * len(numbers)))

    @model_validator(mode="after")
    def _answer_is_not_given_away(self) -> "BudgetProbe":
        for name, text in self.prompts.items():
            if "answer" in [placeholder for _, placeholder, *_ in Formatter().parse(text)]:
                raise ValueError(
                    f"prompts.{name}: {{answer}} gives away the answer whose loss is measured; only {{question}} and "
                    "{object} may be used here"
                )
        return self
