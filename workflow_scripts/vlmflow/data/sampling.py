"""Subgroups of questions by type, and the seeded draw of those that are analysed."""

import hashlib
from typing import Any

import polars as pl

from .settings import Task
from .spelling import AnswersMatch, same

DESCRIBE = "describe"  # the structural type of what asks for a description


def right_answer(row: dict[str, Any]) -> str | None:
    """The right answer to a question; None where there is nothing to be right: many descriptions fit a picture.

    `row` is its row of the table `task`.
    """
    return None if row["structural"] == DESCRIBE else row["answer"]


def is_right(said: str, answer: str | None, match: AnswersMatch = "strict") -> bool | None:
    """Whether what a model says is the right answer, compared as `match` says; None where there is none."""
    return None if answer is None else same(said, answer, match)


def in_task(task: Task) -> pl.Expr:
    """Whether a row of the table `questions` is of the task's types."""
    wanted = pl.lit(True)
    if task.structural is not None:
        wanted &= pl.col("structural") == task.structural
    if task.semantic is not None:
        wanted &= pl.col("semantic") == task.semantic
    return wanted if task.detailed is None else wanted & pl.col("detailed").is_in(task.detailed)


def select_task(questions: pl.DataFrame, name: str, task: Task) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(the task's usable questions, skipped rows for those of its questions that lack something)."""
    found = questions.filter(in_task(task))
    usable = found.filter(pl.col("problem").is_null()).drop("problem")
    broken = found.filter(pl.col("problem").is_not_null())
    return usable, skipped(broken["question_id"], broken["problem"], stage="tasks", task=name)


def draw(question_ids: pl.Series, count: int | None, seed: int | str) -> pl.Series:
    """At most `count` of the ids (all of them if None), in their order.

    Each id has its place in the draw by itself, so that a larger sample holds the smaller one, and a question that
    comes or goes does not change the fate of the others.
    """
    if count is None:
        return question_ids
    order = sorted(question_ids.to_list(), key=lambda name: place_in_draw(name, seed))
    return question_ids.filter(question_ids.is_in(order[:count]))


def place_in_draw(question_id: str, seed: int | str = 0) -> bytes:
    """By what questions are ordered at random: the same place for the same id and seed, whatever else there is."""
    return hashlib.sha256(f"{seed}:{question_id}".encode()).digest()


def draw_apart(questions: pl.DataFrame, drawn: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(the questions whose ids are drawn, the others)."""
    inside = pl.col("question_id").is_in(drawn.implode())
    return questions.filter(inside), questions.filter(~inside)


def skipped(
    question_ids: pl.Series,
    reasons: pl.Series | str,
    *,
    stage: str,
    task: str,
    model: str | None = None,
    what: pl.Series | str = "",
) -> pl.DataFrame:
    """Rows of the table `skipped`; `what` is the part of each question that is left out, by default the whole one."""
    return pl.DataFrame({"question_id": question_ids}, schema={"question_id": pl.String}).with_columns(
        task=pl.lit(task),
        model=pl.lit(model, dtype=pl.String),
        stage=pl.lit(stage),
        what=what.cast(pl.String) if isinstance(what, pl.Series) else pl.lit(what),
        reason=pl.Series(reasons, dtype=pl.String) if isinstance(reasons, pl.Series) else pl.lit(reasons),
    )
