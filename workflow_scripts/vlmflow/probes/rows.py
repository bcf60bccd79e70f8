"""The rows of the questions that a probe measures, with everything that the probe needs to know about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.data.sampling import sample
from vlmflow.tables import ANSWERS, PATCHES, SELECTED, TASK, read_shards

from .base import Probe, ProbeTables
from .norms import NormsProbe


def read_questions(paths: Sequence[str | Path], tasks: Sequence[str]) -> pl.DataFrame:
    """The rows of several tables `task`, with the name of the task in front."""
    columns = [pl.lit(None, dtype=pl.String).alias("task"), pl.all()]
    frames = [TASK.frame([]).select(columns)]
    for path, task in zip(paths, tasks, strict=True):
        frames.append(TASK.read(path).select(pl.lit(task).alias("task"), pl.all()))
    return pl.concat(frames)


def rows_of_tasks(probe: Probe, files: Mapping[str, Any], tasks: Sequence[str], seed: int | None) -> pl.DataFrame:
    """The rows of all tasks; see `rows_to_probe`.

    Args:
        probe: as the study file has it.
        files: paths by name: `questions`, one table per task; `answers` and `norms`, all shards; `selected`, one path;
            `patches`, a list of one path, or empty.
        tasks: names of the tasks, in the order of `questions`.
        seed: of the sample, if the probe measures only some of the questions.
    """
    shared = {
        "questions": read_questions(files["questions"], tasks),
        "answers": read_shards(ANSWERS, files["answers"]),
        "selected": read_shards(SELECTED, [files["selected"]]),
        "patches": read_shards(PATCHES, files["patches"]) if files["patches"] else None,
        "norms": read_shards(NormsProbe.table, files["norms"]) if files["norms"] else None,
    }
    frames = []
    for task in tasks:
        of_task = {
            name: None if table is None else table.filter(pl.col("task") == task) for name, table in shared.items()
        }
        frames.append(rows_to_probe(probe, ProbeTables(**of_task), seed))  # type: ignore[arg-type]
    return pl.concat(frames)


def rows_to_probe(probe: Probe, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
    """Rows of the table `task` with the model's patches, its answer's `token_ids` and the columns that the probe adds.

    Args:
        probe: as the study file has it.
        tables: of one task.
        seed: of the sample, if the probe measures only some of the questions.
    """
    answers = tables.answers
    analysed = {
        "any": answers,
        "correct": tables.selected,
        "wrong": answers.filter(pl.col("correct").not_()),  # without those to which no answer is correct or wrong
    }[probe.answers_analysed]
    sampled = sample(analysed["question_id"], probe.questions, seed or 0)
    rows = tables.questions.filter(pl.col("question_id").is_in(sampled.implode()))
    if tables.patches is not None:
        rows = rows.join(tables.patches.drop("task"), on="question_id", how="left", maintain_order="left")
    rows = rows.join(answers.select("question_id", "token_ids"), on="question_id", how="left", maintain_order="left")
    return probe.columns(rows, tables, seed)
