"""Accuracy of a model in each structural and semantic group of the questions; [flow] table 2."""

from typing import Any

import polars as pl

from .bootstrap import summarise, with_rare_cases

STRUCTURAL = ("verify", "query", "choose", "logical", "compare")
SEMANTIC = {"obj": "Object", "attr": "Attribute", "cat": "Category", "rel": "Relation", "global": "Global"}
ORDERS = (("structural", STRUCTURAL), ("semantic", tuple(SEMANTIC)))
YES_NO = ("yes", "no")


def accuracy_rows(questions: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Accuracy of each structural and semantic group, and of its detailed types, with a 95 % interval over images.

    [flow] table 2 has the groups, and appendix A two of the detailed types.  The interval is bootstrapped; if all
    answers are correct, or all are wrong, it is Wilson's (see `with_rare_cases`).  Questions without a correct answer
    are left out.

    Returns:
        columns structural, semantic, detailed (empty for a whole group), kind (open, binary or both), questions,
        images, accuracy, low, high; the groups first.
    """
    judged = answers.select("question_id", pl.col("correct").cast(pl.Float64)).drop_nulls()
    rows = questions.join(judged, on="question_id", how="inner")
    if len(rows) == 0:
        texts = dict.fromkeys(("structural", "semantic", "detailed", "kind"), pl.String)
        numbers = {"questions": pl.Int32, "images": pl.Int32}
        return pl.DataFrame(schema=texts | numbers | dict.fromkeys(("accuracy", "low", "high"), pl.Float64))
    return pl.concat([_accuracy(rows.with_columns(detailed=pl.lit(""))), _accuracy(rows)])


def _accuracy(rows: pl.DataFrame) -> pl.DataFrame:
    groups = ["structural", "semantic", "detailed"]
    kinds = pl.DataFrame(
        [
            dict(zip(groups, group, strict=True)) | {"kind": kind_of(questions)}
            for group, questions in rows.group_by(groups, maintain_order=True)
        ]
    )
    order = [pl.col(name).replace_strict({v: i for i, v in enumerate(known)}, default=99) for name, known in ORDERS]
    return (
        with_rare_cases(summarise(rows, groups, "correct"), 1)
        .join(kinds, on=groups)
        .sort(*order, "detailed")
        .select(*groups, "kind", "questions", "images", accuracy="mean", low="low", high="high")
    )


def kind_of(questions: pl.DataFrame) -> str:
    """The kind of the questions: open, binary (yes or no), or both."""
    binary = questions["answer"].is_in(YES_NO)
    return "binary" if binary.all() else "both" if binary.any() else "open"


def accuracy_cells(groups: pl.DataFrame) -> list[dict[str, Any]]:
    """A row per structural type, with a cell per semantic type; the cell is None if there is no question."""
    cells = {(row["structural"], row["semantic"]): row for row in groups.to_dicts() if not row["detailed"]}
    present = [structural for structural, _ in cells]
    rows = dict.fromkeys([*(name for name in STRUCTURAL if name in present), *present])
    return [
        {"structural": name, "cells": [cells.get((name, each)) for each in semantic_names(groups)]} for name in rows
    ]


def semantic_names(groups: pl.DataFrame) -> dict[str, str]:
    """Semantic type → heading: the known types first, then all others under their own names."""
    return SEMANTIC | {name: name for name in groups["semantic"].unique(maintain_order=True) if name not in SEMANTIC}


def accuracy_shown(groups: pl.DataFrame) -> dict[str, Any]:
    """The argument of the macro `accuracy_table`: the groups as a table, and their detailed types as a list."""
    detailed = [row for row in groups.to_dicts() if row["detailed"]]
    return {"rows": accuracy_cells(groups), "columns": list(semantic_names(groups).values()), "detailed": detailed}
