"""Means with intervals: the resampled unit is the image, since questions about one image are not independent."""

from itertools import pairwise

import numpy as np
import polars as pl

RESAMPLES = 2000
CONFIDENCE = 0.95
# Combinations whose resampled means are computed at a time; this limits the memory.
COLUMNS = 4000
ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def summarise(rows: pl.DataFrame, by: list[str], value: str, seed: int = 0) -> pl.DataFrame:
    """Mean of `value` for every combination of `by`, with a 95 % bootstrap interval over images.

    Args:
        rows: one row per question and combination, with the columns image_id and question_id.
        by: columns that make a combination, in the order of the result.
        value: the column that is averaged.
        seed: of the resampling.

    Returns:
        columns of `by`, mean, low, high, questions, images; one row per combination, in order of first appearance.
        The interval is the percentile interval of the ratio Σ values / Σ questions over resampled images; for a
        single image, both ends are the mean itself.
    """
    cells = rows.group_by([*by, "image_id"], maintain_order=True).agg(total=pl.col(value).sum(), count=pl.len())
    combinations = cells.select(by).unique(maintain_order=True).with_row_index("combination")
    cells = cells.join(combinations, on=by, nulls_equal=True, maintain_order="left").sort("combination", "image_id")
    ends = np.append(np.flatnonzero(np.diff(cells["combination"].to_numpy(), prepend=-1)), len(cells))
    images = cells["image_id"].rank("dense").to_numpy()
    totals, counts = (cells[name].to_numpy() for name in ("total", "count"))
    # Combinations that were measured on the same images share their resamples, so that all of them are one product.
    groups: dict[tuple, list[int]] = {}
    for number, (start, end) in enumerate(pairwise(ends)):
        key = (images[start:end].tobytes(), counts[start:end].tobytes())
        groups.setdefault(key, []).append(number)
    results = np.zeros((len(combinations), 5))
    for members in groups.values():
        weight = counts[ends[members[0]] : ends[members[0] + 1]].astype(float)
        for begin in range(0, len(members), COLUMNS):
            some = members[begin : begin + COLUMNS]
            values = np.column_stack([totals[ends[member] : ends[member + 1]] for member in some]).astype(float)
            low, high = np.quantile(resampled(values, weight, seed), ENDS, axis=0)
            mean = values.sum(axis=0) / weight.sum()
            results[some] = np.column_stack([mean, low, high, np.full((len(some), 2), [weight.sum(), len(weight)])])
    columns = {name: results[:, index] for index, name in enumerate(("mean", "low", "high", "questions", "images"))}
    return (
        combinations.drop("combination")
        .with_columns(**{name: pl.Series(values) for name, values in columns.items()})
        .with_columns(pl.col("questions", "images").cast(pl.Int32))
    )


def resampled(totals: np.ndarray, counts: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, combinations) the ratio Σ totals / Σ counts over resampled images.

    A row of a matrix says how often each image is drawn, so that all resamples of all combinations are one product.

    Args:
        totals: (images, combinations) sum over an image's questions.
        counts: (images) number of its questions.
        seed: of the draws.
        resamples: their number.
    """
    drawn = draws(len(counts), seed, resamples)
    return (drawn @ totals) / (drawn @ counts)[:, None]


def draws(images: int, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, images) how often each image is drawn; each resample has as many draws as there are images."""
    chances = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, chances, size=resamples).astype(float)


def summarise_cells(rows: pl.DataFrame, by: list[str], value: str, columns: int, seed: int = 0) -> pl.DataFrame:
    """As `summarise`, for a column of maps (lists): one row per combination and cell, with its `row` and `column`.

    Args:
        rows: as for `summarise`; in a combination, all maps have the same number of cells.
        by: columns that make a combination.
        value: the column of maps, row by row.
        columns: number of columns of the maps.
        seed: of the resampling.
    """
    parts = []
    for group in rows.partition_by(by, maintain_order=True) if by else [rows]:
        maps = np.array(group[value].to_list(), dtype=float)
        images = group["image_id"].rank("dense").to_numpy().astype(int) - 1
        counts = np.bincount(images).astype(float)
        totals = np.zeros((len(counts), maps.shape[1]))
        np.add.at(totals, images, maps)
        low, high = np.quantile(resampled(totals, counts, seed), ENDS, axis=0)
        index = np.arange(maps.shape[1])
        cells = {
            "row": index // columns,
            "column": index % columns,
            "mean": totals.sum(axis=0) / counts.sum(),
            "low": low,
            "high": high,
            "questions": int(counts.sum()),
            "images": len(counts),
        }
        integers = dict.fromkeys(("row", "column", "questions", "images"), pl.Int32)
        names = [pl.lit(group[name][0]).cast(group[name].dtype).alias(name) for name in by]
        parts.append(pl.DataFrame(cells, schema_overrides=integers).with_columns(names))
    return pl.concat(parts)
