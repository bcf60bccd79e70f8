"""The measures of an intervention's effect: the columns that every intervention's table has, and how they are averaged.

`effects.py` computes them; this module does not import torch.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import polars as pl

from vlmflow.analysis.summaries import Averaging
from vlmflow.tables import Column

Measure = Literal["change", "margin", "log_prob", "flips"]
MEASURES: tuple[Measure, ...] = ("change", "margin", "log_prob", "flips")

# The answer that is followed: the model's own, the correct one, or the false option.
Follow = Literal["own", "correct", "false option"]
FOLLOWED = ("answer", "true", "false")


def _of(word: str) -> dict[str, Column]:
    what = "the followed answer" if word == "answer" else f"the {word} option"
    first = "" if word == "answer" else ", of its first sub-word as the model would write it"
    return {
        f"log_prob_{word}_base": Column(pl.Float64, f"log-probability of {what}, intact, nats{first}", nullable=True),
        f"log_prob_{word}": Column(pl.Float64, "the same under the intervention", nullable=True),
        f"rank_{word}_base": Column(pl.Int32, f"rank of {what} among all tokens, intact, from 1", nullable=True),
        f"rank_{word}": Column(pl.Int32, "the same under the intervention", nullable=True),
    }


def effect_columns(after: str) -> dict[str, Column]:
    """The columns of an intervention's table that give its effect.

    Args:
        after: name of the column with the probability under the intervention.
    """
    return {
        "p_base": Column(pl.Float64, "probability of the followed answer, intact"),
        after: Column(pl.Float64, "the same under the intervention"),
        "change": Column(pl.Float64, "percent of p_base"),
        "margin": Column(
            pl.Float64,
            "change of the margin, nats: the log-probability of the true option less that of the false one; null "
            "without two options that begin differently",
            nullable=True,
        ),
        "log_prob": Column(pl.Float64, "change of the followed answer's log-probability, nats"),
        "flips": Column(pl.Float64, "percent: 100 where another token is the most probable one, else 0"),
        "token": Column(pl.String, "the most probable token under the intervention; the first that is another one"),
        **{name: column for word in FOLLOWED for name, column in _of(word).items()},
        "p_true": Column(pl.Float64, "probability of the true option under the intervention", nullable=True),
        "p_false": Column(pl.Float64, "probability of the false option under the intervention", nullable=True),
    }


def effect_averaging(
    by: tuple[str, ...],
    line: str | None = None,
    further: Mapping[str, tuple[Column, pl.Expr]] | None = None,
    *,
    halves: bool = False,
    across: tuple[str, ...] = (),
    derived: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame] | None = None,
) -> Averaging:
    """How the effects of an intervention are averaged: each measure by itself.

    Args:
        by: columns of the table that make a combination; the last one is the x axis.
        line, further, halves, across, derived: see `Averaging`.
    """
    *others, along = by
    return Averaging(
        (*others, "quantity", along),
        MEASURES,
        line=line,
        further=further or {},
        default="change",
        shares=("flips",),
        halves=halves,
        across=across,
        derived=derived,
    )
