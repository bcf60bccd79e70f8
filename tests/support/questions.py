"""Questions as probes get them, with what a test does not care about filled in."""

import polars as pl

from vlmflow.probes.question import Question, QuestionObject

EMPTY = {
    "image_size": (None, None),
    "answer": "red",
    "correct_answer": "red",
    "options": None,
    "objects": (),
    "captions": None,
    "patches": None,
    "sinks": None,
    "token_ids": [],
    "in_detail": False,
}


def make_question(**known):
    return Question(**EMPTY | known)


def of_task(rows, task):
    """Question rows with the name of their task in front, as jobs have them."""
    return rows.select(pl.lit(task).alias("task"), pl.all())


def thing(name, box=None, attributes=()):
    return QuestionObject(name, box, tuple(attributes))
