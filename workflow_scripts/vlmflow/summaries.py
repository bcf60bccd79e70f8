"""From a row a question to means with intervals, for every kind of probe."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from .statistics import summarise
from .tables import NORMS, PROBE_TABLES

# Bins of norms: eight to a doubling, wide enough for any encoder.
BINS = 2.0 ** (np.arange(-6 * 8, 12 * 8 + 1) / 8)


def shares_of_norms(rows: pl.DataFrame) -> pl.DataFrame:
    """From NORMS to a row for each question, kind of patches and bin: the percentage of these patches in it."""
    parts = []
    for question_id, image_id, norms, related in rows.select(list(NORMS.columns)).iter_rows():
        values = {"all": [norm for norm in norms if norm is not None]}
        if related is not None:
            inside = set(related)
            values["related"] = [n for i, n in enumerate(norms) if n is not None and i in inside]
            values["other"] = [n for i, n in enumerate(norms) if n is not None and i not in inside]
        for patches, found in values.items():
            if found:
                counts, _ = np.histogram(np.clip(found, BINS[0], BINS[-1]), BINS)
                shares = pl.DataFrame({"norm": BINS[:-1], "share": counts / len(found) * 100})
                names = {"question_id": question_id, "image_id": image_id, "patches": patches}
                parts.append(shares.with_columns(pl.lit(value).alias(name) for name, value in names.items()))
    return pl.concat(parts)


def quantities_of_pruning(rows: pl.DataFrame) -> pl.DataFrame:
    """From PRUNING to a row for each question, number of layers and quantity, all in percent."""
    kept = rows.select("question_id", "image_id", "last", pl.col("correct").cast(pl.Float64), "work", "time")
    names = {"correct": "accuracy", "work": "work", "time": "time"}
    return (
        kept.rename(names)
        .unpivot(on=list(names.values()), index=["question_id", "image_id", "last"], variable_name="quantity")
        .drop_nulls("value")
        .with_columns(pl.col("value") * 100)
    )


@dataclass(frozen=True)
class Averaging:
    """How the rows of a kind of probe are averaged: over which combinations, which column, after which preparation."""

    by: tuple[str, ...]
    value: str
    prepare: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows


AVERAGING = {
    "knockout": Averaging(("edge", "window", "layer"), "change"),
    "lens": Averaging(("word", "layer"), "probability"),
    "words": Averaging(("intervention", "window", "layer"), "similarity"),
    "norms": Averaging(("patches", "norm"), "share", shares_of_norms),
    "pruning": Averaging(("quantity", "last"), "value", quantities_of_pruning),
}


def summarise_place(kind: str, rows: pl.DataFrame, left_out: pl.DataFrame, model: str, task: str) -> pl.DataFrame:
    """The summary of what a probe measured of one model and task.

    Args:
        kind: of the probe.
        rows: its table.
        left_out: its skipped rows: edges that no question of the task has get a row with no mean, and the reason.
        model, task: names in the study file.
    """
    averaging, (_, table) = AVERAGING[kind], PROBE_TABLES[kind]
    by = list(averaging.by)
    parts = [table.frame([])]
    place = {"model": pl.lit(model), "task": pl.lit(task)}
    if len(rows):
        means = summarise(averaging.prepare(rows), by, averaging.value).with_columns(**place)
        if "several" in table.columns:
            means = means.join(_several(rows, by), on=by, how="left", maintain_order="left")
        if "note" in table.columns:
            means = means.with_columns(note=pl.lit(None, dtype=pl.String))
        parts.append(table.frame(means))
    if "note" in table.columns:
        parts.append(table.frame(_absent(by[0], rows, left_out).with_columns(**place)))
    return pl.concat(parts)


def _several(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return rows.group_by(by).agg(several=(pl.col("sub_words") > 1).sum().cast(pl.Int32))


def _absent(line: str, rows: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """A row for each edge that was left out for every question, with the reason that was given most often; `line` is
    the column of the edges."""
    reasons = (
        left_out.with_columns(pl.col("reason").str.splitn(": ", 2).struct.rename_fields(["edge", "why"]))
        .unnest("reason")
        .filter(
            pl.col("edge").str.contains(" -> ", literal=True) & ~pl.col("edge").is_in(rows[line].unique().implode())
        )
    )
    notes = (
        reasons.group_by("edge", maintain_order=True)
        .agg(pl.col("why").mode(maintain_order=True).first())
        .select(pl.col("edge").alias(line), note="why")
    )
    nothing = {name: pl.lit(None, dtype=pl.Float64) for name in ("mean", "low", "high")}
    numbers = {"window": 0, "layer": 0, "questions": 0, "pictures": 0, "several": 0}
    return notes.with_columns(**nothing, **{name: pl.lit(number) for name, number in numbers.items()})
