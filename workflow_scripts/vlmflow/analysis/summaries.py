"""From a row a question to means with intervals, for every kind of probe."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from vlmflow.tables import NAMES_OF_OBJECTS, NORMS, PROBE_TABLES, Table

from .bootstrap import summarise, summarise_cells

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


def apart(*quantities: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A preparation: a row for each of these columns, where it has a value."""

    def prepare(rows: pl.DataFrame) -> pl.DataFrame:
        kept = [name for name in rows.columns if name not in quantities and rows[name].dtype != pl.List]
        long = rows.select(*kept, *quantities).unpivot(on=quantities, index=kept, variable_name="quantity")
        return long.drop_nulls("value")

    return prepare


def apart_maps(rows: pl.DataFrame) -> pl.DataFrame:
    """From ATTENTION_MAP to a row for each map, of weights and of norms.

    Pictures that become grids of several sizes are brought to the smallest number of rows and of columns; what falls on
    a cell is what falls on it of all cells that it overlaps.
    """
    smallest = (int(rows["rows"].min()), int(rows["columns"].min()))  # type: ignore[arg-type]
    parts = []
    for (height, width), group in rows.group_by("rows", "columns", maintain_order=True):
        for name in ("weight", "share"):
            kept = group.select("question_id", "image_id", "target", "layer", quantity=pl.lit(name))
            maps = regridded(np.array(group[name].to_list(), dtype=float), (int(height), int(width)), smallest)
            values = pl.Series(maps.tolist(), dtype=pl.List(pl.Float64))
            parts.append(kept.with_columns(columns=pl.lit(smallest[1], dtype=pl.Int32), value=values))
    return pl.concat(parts)


def regridded(maps: np.ndarray, size: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """(maps, cells) with so many rows and columns → the same on another grid over the same picture; sums stay."""
    if size == wanted:
        return maps
    down, across = (_overlaps(there, here) for there, here in zip(wanted, size, strict=True))
    return np.einsum("rh,mhw,cw->mrc", down, maps.reshape(-1, *size), across).reshape(len(maps), -1)


def _overlaps(wanted: int, given: int) -> np.ndarray:
    """(wanted, given) which share of each of so many parts of a line lies in each of so many other parts."""
    ends, others = np.arange(given + 1) / given, np.arange(wanted + 1) / wanted
    shared = np.minimum(ends[None, 1:], others[1:, None]) - np.maximum(ends[None, :-1], others[:-1, None])
    return np.maximum(shared, 0) * given


def quantities_of_lens(rows: pl.DataFrame) -> pl.DataFrame:
    """From VISUAL_LENS to a row for each quantity: as measured, and how many more patches say their object than with
    the right instruction, question by question."""
    keys = ["question_id", "place", "layer"]
    right = rows.filter(pl.col("instruction") == "right").select(*keys, right="object")
    joined = rows.join(right, on=keys, how="left", maintain_order="left").with_columns(
        difference=pl.when(pl.col("instruction") != "right").then(pl.col("object") - pl.col("right"))
    )
    return apart("object", "elsewhere", "shuffled", "entropy", "words", "agreement", "difference")(joined)


@dataclass(frozen=True)
class Averaging:
    """How the rows of a kind of probe are averaged: over which combinations, which column, after which preparation.

    Attributes:
        by: columns that make a combination; the first one names the line.
        value: the column that is averaged; several of them, where it is a map.
        prepare: what is done before.
        columns: of maps, the column that says how many columns they have.
    """

    by: tuple[str, ...]
    value: str
    prepare: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows
    columns: str | None = None

    def average(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Means with intervals."""
        prepared = self.prepare(rows)
        if self.columns is None:
            return summarise(prepared, list(self.by), self.value)
        sizes = prepared.partition_by(self.columns, maintain_order=True)
        return pl.concat(summarise_cells(maps, list(self.by), self.value, maps[self.columns][0]) for maps in sizes)


AVERAGING = {
    "knockout": Averaging(("edge", "window", "layer"), "change"),
    "lens": Averaging(("word", "layer"), "probability"),
    "words": Averaging(("intervention", "window", "layer"), "similarity"),
    "norms": Averaging(("patches", "norm"), "share", shares_of_norms),
    "pruning": Averaging(("quantity", "last"), "value", quantities_of_pruning),
    "similarity": Averaging(("pair", "prompt", "quantity", "layer"), "value", apart("raw", "unrelated", "corrected")),
    "attention": Averaging(("edge", "quantity", "layer"), "value", apart("weight", "norm", "share")),
    "attention-map": Averaging(("target", "quantity", "layer"), "value", apart_maps, columns="columns"),
    "visual-lens": Averaging(("quantity", "instruction", "place", "layer"), "value", quantities_of_lens),
    "budget": Averaging(("keep", "prompt", "number"), "loss"),
    "places": Averaging((), "growth", columns="grid"),
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
        means = averaging.average(rows).with_columns(**place)
        if "kept" in table.columns:
            kept = rows.group_by(by).agg(pl.col("kept").mean())
            means = means.join(kept, on=by, how="left", maintain_order="left")
        if "several" in table.columns:
            means = means.join(_several(rows, by), on=by, how="left", maintain_order="left")
        if "note" in table.columns:
            means = means.with_columns(note=pl.lit(None, dtype=pl.String))
        parts.append(table.frame(means))
    if "edge" in table.columns or "intervention" in table.columns:
        parts.append(table.frame(_absent(table, by[0], rows, left_out).with_columns(**place)))
    if kind == "visual-lens":
        parts.append(table.frame(_without_objects(table, rows, left_out).with_columns(**place)))
    if "note" in table.columns and not sum(map(len, parts)) and len(left_out):
        # Nothing was measured: the reason that was given most often stands for all.
        reason = left_out["reason"].mode(maintain_order=True)[0]
        parts.append(table.frame(_nothing(table, pl.DataFrame({"note": [reason]})).with_columns(**place)))
    return pl.concat(parts)


def _nothing(table: Table, notes: pl.DataFrame) -> pl.DataFrame:
    """Rows that hold no more than a note."""
    empty = {
        name: pl.lit(None if column.nullable else "" if column.dtype == pl.String else 0, dtype=column.dtype)
        for name, column in table.columns.items()
        if name not in notes.columns
    }
    return notes.with_columns(**empty)


def _several(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return rows.group_by(by).agg(several=(pl.col("sub_words") > 1).sum().cast(pl.Int32))


def _without_objects(table: Table, rows: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """A row that says why no question has an object whose name is looked for, where that is so."""
    reasons = left_out["reason"].filter(left_out["reason"].str.starts_with(NAMES_OF_OBJECTS))
    if len(reasons) == 0 or rows["object"].null_count() < len(rows):
        return table.frame([]).drop("model", "task")
    note = reasons.mode(maintain_order=True)[0].removeprefix(NAMES_OF_OBJECTS)
    return _nothing(table, pl.DataFrame({"quantity": ["object"], "note": [note]}))


def _absent(table: Table, line: str, rows: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
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
    return _nothing(table, notes)
