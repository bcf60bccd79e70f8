"""Summaries of every probe as crowded as they come: twelve tasks with long names, ten edges, all their lines."""

from itertools import product

import numpy as np
import polars as pl

from vlmflow.edges import FLOW_EDGES, EdgeGroup

TASKS = [f"ChooseAttributeOfTheSecondObject{number:02}" for number in range(1, 13)]
MODEL = "llava-onevision-qwen2-72b-instruct-chat-of-a-long-name"
EDGES = [
    *FLOW_EDGES,
    "other patches, as many as related -> question",
    "question without options -> last",
    "image -> question without objects",
    "image -> question without options + question -> last",
]
LAYERS = 12
# Kind of chart or probe → values of columns that its settings do not determine.
FURTHER = {
    "redundancy": {"quantity": ["redundancy"]},
    "map": {"target": ["question", "last"]},
    "visual-lens": {"instruction": ["correct", "wrong", "none"], "instruction_position": ["after", "before"]},
    "pathway": {"half": ["confirm"], "keep": ["path", "without"], "cells": [1, 2, 3], "edge": ["image -> question"]},
    "pathway-cells": {"half": ["search", "confirm"], "keep": ["path"], "edge": ["image -> question"]},
    "pathway-sets": {"half": ["all"], "keep": ["a set of the study of a long name", "everything"], "cells": [-1]},
    "logit-attribution": {"part": ["head"]},
    "norms": {"patches": ["related", "other", "all"], "norm": [1.0, 2.0, 4.0, 8.0]},
    "budget": {"tokens_requested": [0, 1, 4, 16, 64]},
}


def _values(column, dtype, probe):
    measured = probe.values_measured(column)
    if measured is not None:
        return list(measured)
    if column == probe.averaging.along:
        return list(range(LAYERS)) if dtype.is_numeric() else ["one", "two", "three"]
    return [0, 1, 2] if dtype.is_numeric() else ["first of them", "second of them"]


def crowded_summary(figure, probe, tasks=TASKS, model=MODEL):
    """Rows of a probe's summary for every combination of its columns; see `FURTHER`.

    Args:
        figure, probe: as a study has them.
        tasks, model: names.
    """
    further = FURTHER.get(figure.kind(), {})
    table = probe.summary_table()
    by = list(probe.averaging.by)
    values = {name: further.get(name) or _values(name, table.columns[name].dtype, probe) for name in by}
    if probe.averaging.map_columns:
        values |= {"row": list(range(6)), "column": list(range(6))}
    draw = np.random.default_rng(0)
    rows = []
    for task, combination in product(tasks, product(*values.values())):
        row = {name: None if column.nullable else 1 for name, column in table.columns.items()}
        row |= {name: "" for name, column in table.columns.items() if column.dtype == pl.String and not column.nullable}
        row |= {name: True for name, column in table.columns.items() if column.dtype == pl.Boolean}
        row |= dict(zip(values, combination, strict=True)) | {"model": model, "task": task}
        row |= {"tokens_kept": row["tokens_requested"]} if "tokens_kept" in table.columns else {}
        mean = float(draw.normal(-20, 10))
        rows.append(row | {"mean": mean, "low": mean - 3, "high": mean + 3, "questions": 1234, "images": 987})
    return table.frame(rows)


def crowded(figure, probe):
    """The figure and its probe with ten edges, where they have edges that a study chooses."""
    if not probe.edge_groups or "edges" not in type(probe).model_fields:
        return figure, probe
    single = all(len(group.edges) == 1 for group in probe.edge_groups)
    allowed = [edge for edge in EDGES if not single or len(EdgeGroup.parse(edge).edges) == 1]
    try:
        wider = type(probe).model_validate(probe.model_dump() | {"edges": allowed})
    except ValueError:
        return figure, probe
    if "edges" not in type(figure).model_fields:
        return figure, wider
    return type(figure).model_validate(figure.model_dump() | {"edges": allowed}), wider
