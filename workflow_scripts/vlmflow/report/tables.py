"""The tables of a study: which questions are asked, and how well a model answers in each group of them."""

import base64
import io
from typing import Any

import polars as pl
from scipy.stats import binomtest

from vlmflow.analysis.bootstrap import CONFIDENCE, summarise
from vlmflow.data.open_image import open_picture
from vlmflow.data.sampling import sample
from vlmflow.errors import QuestionError
from vlmflow.study import AccuracyTable, LandmarksTable, StudyTable

from .html import ENVIRONMENT, unsigned

STRUCTURAL = ("verify", "query", "choose", "logical", "compare")
SEMANTIC = {"obj": "Object", "attr": "Attribute", "cat": "Category", "rel": "Relation", "global": "Global"}
YES_NO = ("yes", "no")
THUMBNAIL = (180, 120)  # pixels, at most


def task_row(task: str, questions: pl.DataFrame) -> dict[str, Any]:
    """A row of the table of tasks; [flow] table 1.

    The example is drawn by the task's name: the same questions give the same one, other tasks other pictures.
    """
    row: dict[str, Any] = {"task": task, "structural": None, "semantic": None, "kind": None}
    row |= {"picture": None, "question": None, "answer": None}
    row |= {"questions": len(questions), "pictures": questions["image_id"].n_unique()}
    if len(questions):
        drawn = sample(questions["question_id"], 1, seed=task)
        example = questions.filter(pl.col("question_id") == drawn[0]).row(0, named=True)
        row |= {name: example[name] for name in ("structural", "semantic", "question", "answer")}
        row |= {"kind": _kind(questions), "picture": example["image"]}
    return row


def _kind(questions: pl.DataFrame) -> str:
    """Open questions, binary ones (yes or no), or both."""
    binary = questions["answer"].is_in(YES_NO)
    return "binary" if binary.all() else "both" if binary.any() else "open"


def without_pictures(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows as they are written to CSV."""
    return pl.DataFrame(rows, infer_schema_length=None).drop("picture")


def tasks_page(rows: list[dict[str, Any]], title: str) -> str:
    """The table of tasks as a page of HTML."""
    shown = [row | {"picture": _thumbnail(row["picture"])} for row in rows]
    return ENVIRONMENT.get_template("table.html").render(kind="tasks", rows=shown, title=title)


def _thumbnail(path: str | None) -> str | None:
    """A small JPEG as a data URI; None where the picture cannot be read."""
    if path is None:
        return None
    try:
        small = open_picture(path)
    except QuestionError:
        return None
    small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def accuracy_rows(questions: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Accuracy of each structural and semantic group, with a 95 % interval over pictures; [flow] table 2.

    The interval is bootstrapped; where all answers are right, or all wrong, resampling sees no spread, and it is
    Wilson's, each picture counted once.  Where there is nothing to be right there is no accuracy either.

    Returns:
        columns structural, semantic, kind (open, binary or both), questions, pictures, accuracy, low, high.
    """
    groups = ["structural", "semantic"]
    judged = answers.select("question_id", pl.col("correct").cast(pl.Float64)).drop_nulls()
    rows = questions.join(judged, on="question_id", how="inner")
    if len(rows) == 0:
        texts = dict.fromkeys((*groups, "kind"), pl.String)
        numbers = {"questions": pl.Int32, "pictures": pl.Int32}
        return pl.DataFrame(schema=texts | numbers | dict.fromkeys(("accuracy", "low", "high"), pl.Float64))
    kinds = pl.DataFrame(
        [
            {"structural": structural, "semantic": semantic, "kind": _kind(group)}
            for (structural, semantic), group in rows.group_by(groups, maintain_order=True)
        ]
    )
    order = [pl.col(name).replace_strict({v: i for i, v in enumerate(known)}, default=99) for name, known in ORDERS]
    return (
        summarise(rows, groups, "correct")
        .join(kinds, on=groups)
        .sort(*order)
        .with_columns(
            pl.struct("mean", "low", "high", "pictures")
            .map_elements(_interval, return_dtype=pl.List(pl.Float64))
            .list.to_struct(fields=["low", "high"])
            .struct.unnest()
        )
        .select(*groups, "kind", "questions", "pictures", "low", "high", accuracy="mean")
        .select(*groups, "kind", "questions", "pictures", "accuracy", "low", "high")
    )


def _interval(row: dict[str, Any]) -> list[float]:
    if 0 < row["mean"] < 1:
        return [row["low"], row["high"]]
    pictures = row["pictures"]
    interval = binomtest(round(row["mean"] * pictures), pictures).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


ORDERS = (("structural", STRUCTURAL), ("semantic", tuple(SEMANTIC)))


def accuracy_page(groups: pl.DataFrame, title: str, model: str) -> str:
    """The table of accuracies as a page of HTML."""
    total = int(groups["questions"].sum())
    shown = {"kind": "accuracy", "rows": accuracy_cells(groups), "columns": list(_columns(groups).values())}
    return ENVIRONMENT.get_template("table.html").render(title=title, model=model, questions=total, **shown)


def accuracy_cells(groups: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each structural type, with a cell, or None, for each semantic type."""
    cells = {(row["structural"], row["semantic"]): row for row in groups.to_dicts()}
    found = [structural for structural, _ in cells]
    rows = dict.fromkeys([*(name for name in STRUCTURAL if name in found), *found])
    return [{"structural": name, "cells": [cells.get((name, each)) for each in _columns(groups)]} for name in rows]


def _columns(groups: pl.DataFrame) -> dict[str, str]:
    """Semantic type → heading: the known ones, and whatever else there is."""
    return SEMANTIC | {name: name for name in groups["semantic"].unique(maintain_order=True) if name not in SEMANTIC}


def in_report(name: str, table: StudyTable, written: pl.DataFrame) -> dict[str, Any]:
    """What the report shows of a table.

    Args:
        name: in the study file.
        table: as the study file has it.
        written: its CSV file.
    """
    shown: dict[str, Any] = {"name": name, "title": table.title or name, "kind": table.table}
    if isinstance(table, AccuracyTable):
        return shown | {
            "model": table.model,
            "rows": accuracy_cells(written),
            "columns": list(_columns(written).values()),
        }
    if isinstance(table, LandmarksTable):
        return shown | {"rows": written.rows(), "columns": written.columns}
    return shown | {"rows": [row | {"picture": None} for row in written.to_dicts()]}


def landmark_rows(kind: str, found: pl.DataFrame) -> pl.DataFrame:
    """Phases, or knees, in words and numbers to read.

    Args:
        kind: of the probe on whose curves they were found.
        found: its table of landmarks.
    """
    place = [pl.col("model").alias("Model"), pl.col("task").alias("Task"), pl.col("prompt").alias("Prompt")]
    if kind == "budget":
        return found.select(
            *place,
            pl.col("keep").alias("Kept"),
            _number("knee", 0).alias("Knee, tokens"),
            pl.when(pl.col("low").is_null())
            .then(pl.lit("–"))
            .otherwise(pl.format("[{}, {}]", _number("low", 0), _number("high", 0)))
            .alias("95 % interval"),
            _number("found", 0).alias("Resamples with a knee, %"),
            pl.format("{} [{}, {}]", *(_number(name, 0) for name in ("enough", "enough_low", "enough_high"))).alias(
                "Enough for 95 % of the fall, tokens"
            ),
            _number("without", 2).alias("Loss without the picture, nats"),
            _number("at_knee", 2).alias("Loss at the knee"),
            _number("whole", 2).alias("Loss with all of it"),
            pl.col("questions").alias("Questions"),
            pl.col("pictures").alias("Pictures"),
        )
    supported = pl.col("supported").cast(pl.String)
    often = pl.format("{} (in {} % of the resamples)", supported, _number("agreement", 0))
    agreement = pl.when(pl.col("agreement").is_null()).then(supported).otherwise(often)
    return found.select(
        *place,
        agreement.alias("Phases supported"),
        pl.format("{} of {}", "phase", "of").alias("Phase"),
        pl.col("name").alias("Name"),
        pl.format("{} to {}", "first", "last").alias("After layers"),
        pl.when((pl.col("phase") > 1) & pl.col("low").is_not_null())
        .then(pl.format("[{}, {}]", _number("low", 0), _number("high", 0)))
        .otherwise(pl.lit("–"))
        .alias("Begins, 95 % interval"),
        _number("between", 3).alias("Image and text, change a layer"),
        _number("within_image", 3).alias("Within image"),
        _number("within_text", 3).alias("Within text"),
        pl.col("questions").alias("Questions"),
        pl.col("pictures").alias("Pictures"),
    )


def _number(column: str, digits: int) -> pl.Expr:
    """A number as text, a dash where there is none."""
    return pl.col(column).map_elements(lambda value: unsigned(value, digits), return_dtype=pl.String).fill_null("–")


def landmarks_page(rows: pl.DataFrame, title: str) -> str:
    """The landmarks as a page of HTML."""
    shown = {"kind": "landmarks", "rows": rows.rows(), "columns": rows.columns}
    return ENVIRONMENT.get_template("table.html").render(title=title, **shown)
