"""From how many of the picture's tokens on more of them help little: the knee of the loss; [thesis]."""

import warnings

import numpy as np
import polars as pl
from kneed import KneeLocator

from .statistics import ENDS, resampled
from .tables import ALL_TOKENS

RESAMPLES = 500
LEAST_FALL = 0.5  # of what the picture does to the loss, that is behind a knee
LEAST_FOUND = 50  # percent of the resamples that have a knee, if the curve is to be said to have one
REST = 0.05  # of it, that may be missing where there are tokens enough


def knee(tokens: np.ndarray, loss: np.ndarray) -> float | None:
    """The number of tokens at the knee of a falling curve (Satopää et al. 2011), or None where it has none.

    The method takes every curve for a convex one.  What it finds is a knee if most of the fall lies behind it: a curve
    that bends the other way, or that falls evenly but for noise, has none.
    """
    fall = loss[0] - loss[-1]
    if fall <= 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it finds nothing
        found = KneeLocator(tokens, loss, curve="convex", direction="decreasing").knee
    if found is None or loss[0] - np.interp(found, tokens, loss) < LEAST_FALL * fall:
        return None
    return float(found)


def enough(tokens: np.ndarray, loss: np.ndarray) -> float:
    """The smallest of these numbers of tokens from which on the loss stays within `REST` of its fall above what it is
    with all of them."""
    most = loss[-1] + REST * max(0.0, loss[0] - loss[-1])
    above = np.flatnonzero(loss > most)
    return float(tokens[above[-1] + 1] if len(above) else tokens[0])


def find_knees(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `budget` of one model and task to the table `knees`, without model and task.

    Pictures are resampled for the intervals; `found` is in how many of the resamples there is a knee.  Where that are
    less than half of them, the data do not support one, and none is told.
    """
    parts = [_of_curve(group, seed) for group in rows.partition_by("prompt", "keep", maintain_order=True)]
    return pl.DataFrame(parts, infer_schema_length=None) if parts else pl.DataFrame()


def _of_curve(rows: pl.DataFrame, seed: int) -> dict:
    # A number of tokens that only some of the pictures have is no point of a curve over all of them.
    questions = rows["question_id"].n_unique()
    rows = rows.filter(pl.len().over("number") == questions)
    cells = rows.pivot(on="number", index="image_id", values=["loss"], aggregate_function="sum").sort("image_id")
    asked = rows.filter(pl.col("number") == ALL_TOKENS)
    counts = asked.group_by("image_id").agg(pl.len()).sort("image_id")["len"].to_numpy()
    kept = rows.group_by("number").agg(pl.col("kept").mean()).sort("kept")
    totals = cells.select([str(number) for number in kept["number"]]).to_numpy()
    tokens = kept["kept"].to_numpy()
    mean = totals.sum(axis=0) / counts.sum()
    again = resampled(totals, counts.astype(float), seed, RESAMPLES)
    point, knees = knee(tokens, mean), [place for curve in again if (place := knee(tokens, curve)) is not None]
    found = 100 * len(knees) / len(again)
    point = point if found >= LEAST_FOUND else None
    low, high = np.quantile(knees, ENDS) if point is not None else (None, None)
    enough_low, enough_high = np.quantile([enough(tokens, curve) for curve in again], ENDS)
    return {
        "prompt": rows["prompt"][0],
        "keep": rows["keep"][0],
        "knee": point,
        "low": low,
        "high": high,
        "found": found,
        "enough": enough(tokens, mean),
        "enough_low": enough_low,
        "enough_high": enough_high,
        "without": float(mean[0]),
        "at_knee": None if point is None else float(np.interp(point, tokens, mean)),
        "whole": float(mean[-1]),
        "questions": int(counts.sum()),
        "pictures": len(counts),
    }
