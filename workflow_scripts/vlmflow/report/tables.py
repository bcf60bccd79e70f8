"""The tables of a study as pages, and the rows of the table of tasks."""

import base64
import io
from typing import Any

import polars as pl

from vlmflow.analysis.group_accuracy import accuracy_shown, kind_of
from vlmflow.data.open_image import open_image
from vlmflow.data.sampling import sample
from vlmflow.errors import QuestionError
from vlmflow.figures.curve_feature_tables import without_alike
from vlmflow.study import AccuracyTable, CurveFeaturesTable, TasksTable

from .claims_matrix import estimate_text
from .template_environment import ENVIRONMENT

THUMBNAIL = (180, 120)  # pixels, at most


def task_row(task: str, questions: pl.DataFrame) -> dict[str, Any]:
    """A row of the table of tasks; [flow] table 1.

    The task's name is the seed of the example: the same questions give the same example, tasks show different images.
    """
    row: dict[str, Any] = {"task": task, "structural": None, "semantic": None, "kind": None}
    row |= {"image": None, "question": None, "answer": None}
    row |= {"questions": len(questions), "images": questions["image_id"].n_unique()}
    if len(questions):
        sampled = sample(questions["question_id"], 1, seed=task)
        example = questions.filter(pl.col("question_id") == sampled[0]).row(0, named=True)
        row |= {name: example[name] for name in ("structural", "semantic", "question", "answer")}
        row |= {"kind": kind_of(questions), "image": example["image"]}
    return row


def without_images(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows as they are written to CSV."""
    return pl.DataFrame(rows, infer_schema_length=None).drop("image")


def tasks_page(rows: list[dict[str, Any]], title: str) -> str:
    """The table of tasks as an HTML page."""
    return _page(TasksTable.macro, title, {"rows": [row | {"image": _thumbnail(row["image"])} for row in rows]})


def _thumbnail(path: str | None) -> str | None:
    """A small JPEG as a data URI; None if the image cannot be read."""
    if path is None:
        return None
    try:
        small = open_image(path)
    except QuestionError:
        return None
    small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def accuracy_page(groups: pl.DataFrame, title: str, model: str) -> str:
    """The table of accuracies as an HTML page."""
    shown = accuracy_shown(groups)
    total = sum(row["questions"] for row in groups.to_dicts() if not row["detailed"])
    lead = f"{model}, {total:,} questions; 95 % bootstrap intervals over images in brackets."
    return _page(AccuracyTable.macro, title, shown, lead)


def curve_features_page(rows: pl.DataFrame, title: str) -> str:
    """A table of phases or knees as an HTML page."""
    return _page(CurveFeaturesTable.macro, title, without_alike(rows))


def claims_page(rows: pl.DataFrame, title: str) -> str:
    """The verdicts on all claims as an HTML page.

    Args:
        rows: see `vlmflow.claims.table.verdict_rows`.
        title: of the page.
    """
    lead = (
        "A claim is supported if the whole 95 % interval of every statistic lies where the rule says, and contradicted "
        "if that of one of them lies elsewhere; corrected for the number of tasks and tests."
    )
    return _page("claims_table", title, claims_shown(rows), lead)


def claims_shown(rows: pl.DataFrame) -> dict[str, Any]:
    """The argument of the macro `claims_table`: the claims, each with its verdicts."""
    claims: dict[str, dict[str, Any]] = {}
    for row in rows.to_dicts():
        about = {name: row[name] for name in ("claim", "paper", "source", "text", "printed")}
        row["shown"] = "" if row["estimate"] is None else estimate_text(row)
        claims.setdefault(row["claim"], about | {"verdicts": []})["verdicts"].append(row)
    return {"rows": list(claims.values())}


def _page(macro: str, title: str, shown: dict[str, Any], lead: str = "") -> str:
    """A page of one table.

    Args:
        macro: name of a macro in `_tables.html`.
        title: of the page.
        shown: the argument of the macro.
        lead: the sentence above the table.
    """
    return ENVIRONMENT.get_template("table.html").render(macro=macro, title=title, table=shown, lead=lead)
