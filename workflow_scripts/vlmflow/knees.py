"""From how many of the picture's tokens on more of them help little: the knee of the loss; [thesis]."""

import warnings

import numpy as np
import polars as pl
from kneed import KneeLocator

from .statistics import ENDS, resampled
from .tables import ALL_TOKENS

RESAMPLES = 500


def knee(tokens: np.ndarray, loss: np.ndarray) -> float | None:
    """The number of tokens at the knee (Satopää et al. 2011) of a falling curve over log₂(1 + tokens), or None where
    it has none: a curve that does not fall, or falls evenly."""
    if not loss[-1] < loss[0]:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no knee
        found = KneeLocator(np.log2(1 + tokens), loss, curve="convex", direction="decreasing").knee
    return None if found is None else float(2**found - 1)


def find_knees(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `budget` of one model and task to the table `knees`, without model and task.

    Pictures are resampled for the interval; `found` is in how many of the resamples there is a knee.
    """
    parts = [_of_curve(group, seed) for group in rows.partition_by("prompt", "keep", maintain_order=True)]
    return pl.DataFrame(parts, infer_schema_length=None) if parts else pl.DataFrame()


def _of_curve(rows: pl.DataFrame, seed: int) -> dict:
    # A number of tokens that only some of the pictures have is no point of a curve over all of them.
    questions = rows["question_id"].n_unique()
    rows = rows.filter(pl.len().over("number") == questions)
    cells = rows.pivot(on="number", index="image_id", values=["loss"], aggregate_function="sum").sort("image_id")
    counts = (
        rows.filter(pl.col("number") == ALL_TOKENS)
        .group_by("image_id")
        .agg(pl.len())
        .sort("image_id")["len"]
        .to_numpy()
    )
    kept = rows.group_by("number").agg(pl.col("kept").mean()).sort("kept")
    totals = cells.select([str(number) for number in kept["number"]]).to_numpy()
    tokens = kept["kept"].to_numpy()
    mean = totals.sum(axis=0) / counts.sum()
    point = knee(tokens, mean)
    again = [knee(tokens, curve) for curve in resampled(totals, counts.astype(float), seed, RESAMPLES)]
    there = [each for each in again if each is not None]
    low, high = np.quantile(there, ENDS) if point is not None and there else (None, None)
    return {
        "prompt": rows["prompt"][0],
        "keep": rows["keep"][0],
        "knee": point,
        "low": low,
        "high": high,
        "found": 100 * len(there) / len(again),
        "without": float(mean[0]),
        "at_knee": None if point is None else float(np.interp(point, tokens, mean)),
        "whole": float(mean[-1]),
        "questions": int(counts.sum()),
        "pictures": len(counts),
    }
