"""Rows of single questions, as short as the page of single questions can read them."""

import base64
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vlmflow.figures.panels import evenly_spaced
from vlmflow.tables import QUESTIONS

EDGES = 12  # curves of a question
LAYERS = 16  # maps of a question, evenly spaced from the first layer to the last
QUESTION = ["task", "question_id"]
Found = dict[tuple[str, str], Any]


def question_texts(paths: Sequence[str | Path], tasks: Sequence[str], wanted: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """task, question_id, question, answer of single questions, whether or not they could be asked.

    Args:
        paths: a table `questions` per task; several tasks may have the same.
        tasks: their names.
        wanted: tables with the columns task and question_id.
    """

    @cache
    def texts(path: str | Path) -> pl.DataFrame:
        return QUESTIONS.read(path).select("question_id", "question", "answer").unique("question_id")

    ids = pl.concat([rows.select(QUESTION) for rows in wanted]).unique()
    return pl.concat(
        ids.filter(task=task).join(texts(path), on="question_id") for path, task in zip(paths, tasks, strict=True)
    )


def chosen_edges(edges: Sequence[str]) -> list[str]:
    """The edges whose curves are shown: the first ones of the study."""
    return list(dict.fromkeys(edges))[:EDGES]


def curves(rows: pl.DataFrame | None, edges: Sequence[str]) -> pl.DataFrame:
    """task, question_id, edge, layer, change of some edges.

    Args:
        rows: of a knockout, or None; with several windows, those of the smallest are taken.
        edges: see `chosen_edges`.
    """
    if rows is None:
        schema = {"task": pl.String, "question_id": pl.String, "edge": pl.String}
        return pl.DataFrame(schema=schema | {"layer": pl.Int32, "change": pl.Float64})
    kept = _smallest_window(rows.filter(pl.col("edge").is_in(list(edges))))
    return kept.select(*QUESTION, "edge", "layer", "change")


def means(summaries: Sequence[pl.DataFrame], model: str, edges: Sequence[str]) -> pl.DataFrame:
    """task, edge, layer, mean, low, high of the curves of a model.

    Args:
        summaries: that of the knockout, or none.
        model: name in the study file.
        edges: see `chosen_edges`.
    """
    columns: dict[str, Any] = {"task": pl.String, "edge": pl.String, "layer": pl.Int32}
    columns |= dict.fromkeys(("mean", "low", "high"), pl.Float64)
    found = [pl.DataFrame(schema=columns)]
    for rows in summaries:
        own = rows.filter(
            pl.col("model") == model,
            pl.col("quantity") == "change",
            pl.col("edge").is_in(list(edges)),
            pl.col("mean").is_not_null(),
        )
        found.append(_smallest_window(own).select(list(columns)).cast(pl.Schema(columns)))
    return pl.concat(found)


def _smallest_window(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("window") == pl.col("window").min()) if len(rows) else rows


def curves_of(rows: pl.DataFrame) -> Found:
    """Question → edge → [first layer, changes in percent]; layers without a row are null."""
    found: Found = {}
    for (task, question, edge), line in rows.group_by(*QUESTION, "edge", maintain_order=True):
        values = dict(zip(line["layer"].to_list(), line["change"].round(1).to_list(), strict=True))
        first, last = min(values), max(values)
        listed = [first, [values.get(layer) for layer in range(first, last + 1)]]
        found.setdefault((str(task), str(question)), {})[edge] = listed
    return found


def tracks_of(rows: pl.DataFrame | None) -> Found:
    """Question → word → [first layer, probabilities]."""
    found: Found = {}
    if rows is None:
        return found
    for (task, question, word), line in rows.sort("layer").group_by(*QUESTION, "word", maintain_order=True):
        listed = [line["layer"][0], line["probability"].round(4).to_list()]
        found.setdefault((str(task), str(question)), {})[word] = listed
    return found


def maps_of(rows: pl.DataFrame | None) -> Found:
    """Question → target → layers, columns, the highest share, and the shares of all cells from 0 to 255 in base64."""
    found: Found = {}
    if rows is None:
        return found
    for (task, question, target), maps in rows.sort("layer").group_by(*QUESTION, "target", maintain_order=True):
        layers = evenly_spaced(maps["layer"].to_list(), LAYERS)
        kept = maps.filter(pl.col("layer").is_in(layers))
        values = np.array(kept["weight"].to_list(), dtype=float)
        most = float(values.max())
        scaled = np.round(255 * values / most if most > 0 else values).astype(np.uint8)
        found.setdefault((str(task), str(question)), {})[target] = {
            "layers": layers,
            "columns": kept["columns"][0],
            "most": round(most, 3),
            "cells": [base64.b64encode(each.tobytes()).decode() for each in scaled],
        }
    return found


def words_of(rows: pl.DataFrame | None) -> Found:
    """Question → layers, the different words, and for each layer the number of each patch's word, row by row.

    Only questions whose words are kept have an entry.
    """
    found: Found = {}
    if rows is None:
        return found
    kept = rows.filter(pl.col("decoded").is_not_null())
    for (task, question), lines in kept.group_by(QUESTION, maintain_order=True):
        first = lines.row(0, named=True)
        same = (pl.col("instruction") == first["instruction"]) & (
            pl.col("instruction_position") == first["instruction_position"]
        )
        own = lines.filter(same).sort("layer")
        layers = evenly_spaced(own["layer"].to_list(), LAYERS)
        chosen = own.filter(pl.col("layer").is_in(layers))
        known = chosen["decoded"].explode().unique(maintain_order=True).to_list()
        number = {word: place for place, word in enumerate(known)}
        cells = [[number[word] for word in decoded] for decoded in chosen["decoded"]]
        found[str(task), str(question)] = {"layers": layers, "words": known, "cells": cells}
    return found
