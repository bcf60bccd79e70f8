"""Tables of questions, and of every model's answers to them."""

from dataclasses import dataclass

import polars as pl

from .base import Column, Table
from .columns import ABOUT, MODEL_TASK, TASK_NAME

OBJECT = pl.Struct(
    {
        "name": pl.String,
        "id": pl.String,
        "x": pl.Float64,
        "y": pl.Float64,
        "w": pl.Float64,
        "h": pl.Float64,
        "attributes": pl.List(pl.String),
    }
)

QUESTION_COLUMNS = {
    "question_id": Column(pl.String, "id in the source"),
    "image_id": Column(pl.String, "id of the image in the source"),
    "width": Column(pl.Int32, "pixels", nullable=True),
    "height": Column(pl.Int32, "pixels", nullable=True),
    "question": Column(pl.String, "the question's own words"),
    "answer": Column(pl.String, "correct answer, lowercase, NFC; for a description, a person's text as written"),
    "full_answer": Column(pl.String, "correct answer as a sentence", nullable=True),
    "structural": Column(pl.String, "GQA's structural type"),
    "semantic": Column(pl.String, "GQA's semantic type"),
    "detailed": Column(pl.String, "GQA's detailed type"),
    "true_option": Column(pl.String, "the correct one of two options", nullable=True),
    "false_option": Column(pl.String, "the wrong one of two options", nullable=True),
    "objects": Column(
        pl.List(OBJECT),
        "the objects that the question is about; boxes in pixels of the image, null if the object is absent; "
        "attributes as annotated, none if they are not known",
    ),
    "captions": Column(pl.String, "dense captions of the image, one after the other", nullable=True),
}

QUESTIONS = Table(
    "questions",
    QUESTION_COLUMNS
    | {"problem": Column(pl.String, "what a task needs and the dataset lacks, as a reason", nullable=True)},
)
CANDIDATES = Table("candidates", QUESTION_COLUMNS)
TASK = Table("task", QUESTION_COLUMNS | {"image": Column(pl.String, "path of the image")})
SKIPPED = Table(
    "skipped",
    {
        "question_id": Column(pl.String, "id in the source"),
        "task": Column(pl.String, "null before the tasks are made", nullable=True),
        "model": Column(pl.String, "null before a model is asked", nullable=True),
        "stage": Column(pl.String, "questions, tasks, images, patches, answers, selected, or a probe's name"),
        "what": Column(pl.String, "the part that is left out, such as an edge or a prompt; empty: the whole question"),
        "reason": Column(pl.String, "why it is left out"),
    },
)


# Begins `what` if a segment is measured without a part of it; such a row leaves out no line of a figure.
PART_OF = "part of "


@dataclass(frozen=True)
class Skipped:
    """A question that is skipped, or a part of its measurement.

    Attributes:
        question: its id.
        what: the part, such as an edge or a prompt; empty for the whole question.
        reason: why it is skipped.
    """

    question: str
    what: str
    reason: str


def full_reason() -> pl.Expr:
    """The columns `what` and `reason` of the table `skipped` as one text."""
    what, reason = pl.col("what"), pl.col("reason")
    return pl.when(what == "").then(reason).otherwise(pl.concat_str([what, reason], separator=": "))


PATCHES = Table(
    "patches",
    TASK_NAME
    | {
        "question_id": Column(pl.String, "id in the source"),
        "tokens": Column(pl.Int32, "number of the image's tokens"),
        "related": Column(pl.List(pl.Int32), "numbers of the related patches among the image's tokens, from 0"),
        "no_patch": Column(pl.List(pl.Int32), "numbers of the tokens that are no patch, such as row newlines"),
    },
)
ANSWERS = Table(
    "answers",
    ABOUT
    | {
        "predicted": Column(pl.String, "the model's answer, decoded greedily"),
        "answer": Column(pl.String, "the correct answer, or a person's description if many answers are correct"),
        "correct": Column(
            pl.Boolean,
            "predicted is the answer, as the study's answers_match says; null: no correct answer",
            nullable=True,
        ),
        "probability": Column(pl.Float64, "of the first token of the model's answer"),
        "token_ids": Column(pl.List(pl.Int64), "of the model's answer"),
        "tokens": Column(pl.List(pl.String), "the text of each of them"),
        "token_probabilities": Column(pl.List(pl.Float64), "of each of them, given those before it"),
    },
)
VIEWS = Table(
    "views",
    TASK_NAME
    | {
        "question_id": Column(pl.String, "id in the source"),
        "question": Column(pl.String, "the question's own words"),
        "answer": Column(pl.String, "correct answer, or caption"),
        "rows": Column(pl.Int32, "of patches"),
        "columns": Column(pl.Int32, "of patches"),
        "image": Column(pl.Binary, "the whole image as the model receives it, as PNG or JPEG"),
    },
)
SELECTED = Table(
    "selected",
    TASK_NAME
    | {
        "question_id": Column(pl.String, "a question that the probes analyse"),
    },
)

ACCURACY = Table(
    "summary of answers",
    MODEL_TASK
    | {
        "asked": Column(pl.Int32, "questions"),
        "correct": Column(pl.Int32, "answered correctly; null if there is no correct answer", nullable=True),
        "analysed": Column(pl.Int32, "sampled for the probes"),
        "accuracy": Column(pl.Float64, "correct / asked; null if there is no correct answer", nullable=True),
    },
)


def skipped(
    question_ids: pl.Series,
    reasons: pl.Series | str,
    *,
    stage: str,
    task: pl.Series | str,
    model: str | None = None,
    what: pl.Series | str = "",
) -> pl.DataFrame:
    """Rows of the table `skipped`; `what` is the part of each question that is left out, by default all of it."""
    return pl.DataFrame({"question_id": question_ids}, schema={"question_id": pl.String}).with_columns(
        task=task if isinstance(task, pl.Series) else pl.lit(task),
        model=pl.lit(model, dtype=pl.String),
        stage=pl.lit(stage),
        what=what.cast(pl.String) if isinstance(what, pl.Series) else pl.lit(what),
        reason=pl.Series(reasons, dtype=pl.String) if isinstance(reasons, pl.Series) else pl.lit(reasons),
    )
