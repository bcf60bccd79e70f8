"""What was left out of the study, by reason, with the numbers of questions by model and task; and wrong answers."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from vlmflow.data.answers import is_correct
from vlmflow.data.sampling import NotDrawn, Wrong, sampling_order

ANSWERS_SHOWN = 3  # per model and task
SET_ASIDE = [*map(str, NotDrawn), *map(str, Wrong)]  # reasons that are no fault of a question


def left_out(skipped: pl.DataFrame) -> dict[str, Any]:
    """The reasons, each with its number of questions; see `_reasons`.

    Args:
        skipped: rows of the table `skipped`.

    Returns:
        dropped: reasons for which a question, or a part of its measurement, could not be measured; not_drawn: reasons
        for which nothing was to be measured; and the total number of the rows of each.
    """
    aside = pl.col("reason").is_in(SET_ASIDE) & (pl.col("what") == "")
    dropped, not_drawn = skipped.filter(~aside), skipped.filter(aside)
    return {
        "dropped": _reasons(dropped),
        "dropped_total": len(dropped),
        "dropped_questions": dropped["question_id"].n_unique(),
        "not_drawn": _reasons(not_drawn),
        "not_drawn_total": len(not_drawn),
    }


def _reasons(skipped: pl.DataFrame) -> list[dict[str, Any]]:
    """A row per stage and reason: its cases, the parts that were left out for it, and its questions by model and task.

    Reasons that differ only in numbers or names share a row, which has one of them as an example.
    """
    rows = skipped.with_columns(kind=pl.col("reason").str.replace_all(r"[\d.,]+|\S*/\S*|'[^']*'", "…"))
    found = []
    for (stage, _), group in rows.group_by("stage", "kind", maintain_order=True):
        found.append(
            {
                "stage": stage,
                "reason": group["reason"][0],
                "kinds": group["reason"].n_unique(),
                "parts": group.filter(pl.col("what") != "")["what"].unique(maintain_order=True).to_list(),
                "count": len(group),
                "by_model": _by_model(group),
            }
        )
    return sorted(found, key=lambda row: -row["count"])


def _by_model(group: pl.DataFrame) -> list[dict[str, Any]]:
    """Each model with its tasks and their numbers of questions; before tasks and models are known, both are None."""
    counts = group.group_by("model", "task", maintain_order=True).agg(pl.col("question_id").n_unique())
    return [
        {"model": model, "tasks": own.select("task", "question_id").rows()}
        for (model,), own in counts.group_by("model", maintain_order=True)
    ]


def answer_samples(
    answers: Mapping[tuple[str, str], pl.DataFrame], questions: pl.DataFrame, own: Mapping[str, pl.DataFrame]
) -> list[dict[str, Any]]:
    """A few answers of each model to each task beside the reference, the same every time; wrong ones if most are wrong.

    Args:
        answers: (model, task) → rows of the table `answers`.
        questions: of the study.
        own: task → its questions, for tasks with a dataset of their own.
    """
    entries = []
    for (model, task), given in answers.items():
        if not len(given):
            continue
        wrong = given.filter(~pl.col("correct"))
        mostly_wrong = 2 * len(wrong) > len(given)
        texts = own.get(task, questions).select("question_id", "question")
        chosen = (wrong if mostly_wrong else given).join(texts, on="question_id", how="left")
        rows = sorted(chosen.to_dicts(), key=lambda row: sampling_order(row["question_id"]))
        relaxed = [bool(is_correct(row["predicted"], row["answer"], "relaxed")) for row in rows] if mostly_wrong else []
        entries.append(
            {
                "model": model,
                "task": task,
                "asked": len(given),
                "wrong": len(wrong),
                "mostly_wrong": mostly_wrong,
                "relaxed": sum(relaxed),
                "rows": rows[:ANSWERS_SHOWN],
            }
        )
    return entries
