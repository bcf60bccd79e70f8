"""Questions by type, and the seeded samples of candidates and of analysed questions."""

import hashlib
from enum import StrEnum

import polars as pl

from vlmflow.tables.questions import skipped

from .tasks import Task


class NotDrawn(StrEnum):
    """Why a question is not measured although nothing is wrong with it: a sample was drawn without it."""

    CANDIDATE = "not sampled as a candidate"
    GROUP = "not sampled in its group"
    CHOSEN = "not in the sample of the model that `answered_by` names"
    CORRECT = "answered correctly, but not in the sample"
    ANY = "answered, but not in the sample"


class Wrong(StrEnum):
    """Why a question is not in the sample of correctly answered ones."""

    OTHER = "answered wrongly"
    EMPTY = "answered wrongly: the model's answer is empty"


def in_task(task: Task) -> pl.Expr:
    """The condition that a row of the table `questions` has the task's types."""
    wanted = pl.lit(True)
    if task.structural is not None:
        wanted &= pl.col("structural") == task.structural
    if task.semantic is not None:
        wanted &= pl.col("semantic") == task.semantic
    return wanted if task.detailed is None else wanted & pl.col("detailed").is_in(task.detailed)


def usable_questions(questions: pl.DataFrame, name: str, task: Task) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(the task's usable questions, rows of `skipped` for its questions that lack something)."""
    of_task = questions.filter(in_task(task))
    usable = of_task.filter(pl.col("problem").is_null()).drop("problem")
    broken = of_task.filter(pl.col("problem").is_not_null())
    return usable, skipped(broken["question_id"], broken["problem"], stage="tasks", task=name)


def select_candidates(
    questions: pl.DataFrame, name: str, task: Task, count: int | None, seed: int | str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `candidates`: the questions of a task that a model is asked; rows of `skipped` for its
    other questions).

    Args:
        questions: rows of the table `questions`.
        name: the task's.
        count: the largest number of candidates; None for all.
        seed: of their sample.
    """
    usable, broken = usable_questions(questions, name, task)
    candidates, rest = split_by_ids(usable, sample(usable["question_id"], count, seed))
    print(f"{len(candidates)} questions are candidates, {len(broken)} are incomplete, {len(rest)} were not sampled")
    others = skipped(rest["question_id"], NotDrawn.CANDIDATE, stage="tasks", task=name)
    return candidates, pl.concat([broken, others])


def sample_groups(
    questions: pl.DataFrame, table: str, per_group: int | None, seed: int | str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `candidates`: at most `per_group` questions of each structural and semantic type; rows of
    `skipped` for the others).

    Args:
        questions: rows of the table `questions`.
        table: name of the table for which they are asked, for the skipped rows.
        per_group: the largest number per group; None for all.
        seed: of the samples.
    """
    groups = questions.partition_by("structural", "semantic", maintain_order=True)
    sampled = [sample(group["question_id"], per_group, seed) for group in groups]
    candidates, rest = split_by_ids(questions, pl.concat(sampled or [questions["question_id"]]))
    others = skipped(rest["question_id"], NotDrawn.GROUP, stage="tasks", task=table)
    return candidates.drop("problem"), others


def sample_answered(
    answers: pl.DataFrame, per_task: int | None, seed: int | str, *, task: str, model: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the table `selected`: a sample of the questions that are answered correctly or have no correct
    answer, which probes analyse; rows of `skipped` for the others).

    Args:
        answers: rows of the table `answers`, of one model to one task.
        per_task: the largest number; None for all.
        seed: of the sample.
        task, model: for the skipped rows.
    """
    # Where no answer is correct, none is wrong either.
    wrong = answers.filter(~pl.col("correct")).with_columns(
        reason=pl.when(pl.col("token_ids").list.len() == 0)
        .then(pl.lit(Wrong.EMPTY.value))
        .otherwise(pl.lit(Wrong.OTHER.value))
    )
    usable = answers.filter(pl.col("correct").fill_null(True))
    selected, rest = split_by_ids(usable, sample(usable["question_id"], per_task, seed))
    rest = rest.with_columns(
        reason=pl.when("correct").then(pl.lit(NotDrawn.CORRECT.value)).otherwise(pl.lit(NotDrawn.ANY.value))
    )
    others = [
        skipped(each["question_id"], each["reason"], stage="selected", task=task, model=model) for each in (wrong, rest)
    ]
    return selected.select("task", "question_id"), pl.concat(others)


def explored_questions(answers: pl.DataFrame, selected: pl.DataFrame, per_task: int) -> pl.DataFrame:
    """(task, question_id) of the questions that the page of single questions shows with their images.

    Of each task, a quarter is for wrong answers, if there are so many; then come analysed questions, then others.

    Args:
        answers: rows of the table `answers`, of one model.
        selected: rows of the table `selected`, of the same model.
        per_task: the largest number per task.
    """
    analysed = selected.select("task", "question_id", analysed=pl.lit(True))
    rows = answers.join(analysed, on=["task", "question_id"], how="left", maintain_order="left")
    wrong = ~pl.col("correct").fill_null(True)
    rows = in_random_order(rows, 0).with_columns(
        place=pl.int_range(pl.len()).over("task", wrong), wrong=wrong, analysed=pl.col("analysed").fill_null(False)
    )
    few_wrong = pl.col("wrong") & (pl.col("place") < max(1, per_task // 4))
    rank = pl.when(few_wrong).then(0).when("analysed").then(1).when("wrong").then(3).otherwise(2)
    ranked = rows.sort(rank, maintain_order=True)
    return ranked.group_by("task", maintain_order=True).head(per_task).select("task", "question_id")


def sample(question_ids: pl.Series, count: int | None, seed: int | str) -> pl.Series:
    """At most `count` of the ids (all of them if None), in their order.

    The order of the ids depends on each id and the seed alone, so that a larger sample holds the smaller one, and a
    question that is added or removed hardly changes which others are in it.
    """
    if count is None:
        return question_ids
    order = sorted(question_ids.to_list(), key=lambda name: sampling_order(name, seed))
    return question_ids.filter(question_ids.is_in(order[:count]))


def sampling_order(question_id: str, seed: int | str = 0) -> bytes:
    """The key by which questions are sorted into a random order; it depends on the id and the seed alone."""
    return hashlib.sha256(f"{seed}:{question_id}".encode()).digest()


def in_random_order(rows: pl.DataFrame, seed: int | None) -> pl.DataFrame:
    """The question rows in the order of the sample, since neighbours in a file may be related; a larger sample begins
    with the smaller one."""
    order = pl.Series([sampling_order(name, seed or 0) for name in rows["question_id"]], dtype=pl.Binary)
    return rows.sort(order)


def split_by_ids(questions: pl.DataFrame, ids: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(the questions with these ids, the others)."""
    inside = pl.col("question_id").is_in(ids.implode())
    return questions.filter(inside), questions.filter(~inside)
