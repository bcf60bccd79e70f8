"""Means with intervals: the resampled unit is the picture, since questions about one picture are not independent."""

import numpy as np
import polars as pl
from scipy.stats import bootstrap

RESAMPLES = 2000
CONFIDENCE = 0.95


def summarise(rows: pl.DataFrame, by: list[str], value: str, seed: int = 0) -> pl.DataFrame:
    """Mean of `value` for every combination of `by`, with a 95 % bootstrap interval over pictures.

    Args:
        rows: one row a question and combination, with the columns image_id and question_id.
        by: columns that make a combination, in the order of the result.
        value: the column that is averaged.
        seed: of the resampling.

    Returns:
        columns of `by`, mean, low, high, questions, pictures; one row a combination, in order of first appearance.
        The interval is the percentile interval of the ratio Σ values / Σ questions over resampled pictures; of a
        single picture it is the mean itself.
    """
    cells = rows.group_by([*by, "image_id"], maintain_order=True).agg(total=pl.col(value).sum(), count=pl.len())
    parts = []
    # Combinations that were measured on the same pictures are resampled together: same draws, one call.
    by_pictures: dict[tuple, list[pl.DataFrame]] = {}
    for cell in cells.partition_by(by, maintain_order=True):
        cell = cell.sort("image_id")
        key = (tuple(cell["image_id"]), tuple(cell["count"]))
        by_pictures.setdefault(key, []).append(cell)
    for group in by_pictures.values():
        totals = np.column_stack([cell["total"].to_numpy() for cell in group])
        counts = group[0]["count"].to_numpy().astype(float)
        low, high = _interval(totals, counts, seed)
        parts.append(
            pl.concat([cell.select(by).head(1) for cell in group]).with_columns(
                mean=pl.Series(totals.sum(axis=0) / counts.sum()),
                low=pl.Series(low),
                high=pl.Series(high),
                questions=pl.lit(int(counts.sum()), dtype=pl.Int32),
                pictures=pl.lit(len(counts), dtype=pl.Int32),
            )
        )
    return rows.select(by).unique(maintain_order=True).join(pl.concat(parts), on=by, how="left", maintain_order="left")


def _interval(totals: np.ndarray, counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval for each column of `totals` (pictures, combinations); `counts` are questions a picture."""
    if len(counts) < 2:
        return totals[0] / counts[0], totals[0] / counts[0]
    result = bootstrap(
        (totals.T, np.broadcast_to(counts, totals.T.shape)),
        lambda total, count, axis: total.sum(axis) / count.sum(axis),
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return result.confidence_interval.low, result.confidence_interval.high
