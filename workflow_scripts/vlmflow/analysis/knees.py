"""From how many of the picture's tokens on more of them help little: the knee of the loss; [thesis]."""

import numpy as np
import polars as pl

from vlmflow.tables import ALL_TOKENS

from .bootstrap import ENDS, resampled

RESAMPLES = 500
LEAST_FALL = 0.5  # of what the picture does to the loss, that is behind a knee
SLOWER = 0.25  # of the slope before a knee, that is left behind it, at most
LEAST_FOUND = 50  # percent of the resamples that have a knee, if the curve is to be said to have one
REST = 0.05  # of the fall, that may be missing where there are tokens enough


def knee(tokens: np.ndarray, loss: np.ndarray) -> float | None:
    """The number of tokens at the knee of a falling curve, or None where it has none.

    As the figure draws it, over doublings of 1 + tokens: of all lines with one bend at one of these numbers the one
    that fits best.  Its bend is a knee if the loss falls before it, if it has then done most of its fall, and if it
    falls no more than a quarter as steeply behind it; a curve that falls evenly with every doubling has none.
    """
    steps, fall = np.log2(1 + tokens), loss[0] - loss[-1]
    if fall <= 0 or len(tokens) < 4:
        return None
    fits = []
    for bend in steps[1:-1]:
        basis = np.column_stack([np.ones_like(steps), steps, np.maximum(steps - bend, 0)])
        found = np.linalg.lstsq(basis, loss, rcond=None)[0]
        fits.append((float(((basis @ found - loss) ** 2).sum()), bend, found[1], found[1] + found[2]))
    _, bend, before, after = min(fits)
    place = float(2**bend - 1)
    done = loss[0] - np.interp(place, tokens, loss)
    return place if before < 0 and after >= SLOWER * before and done >= LEAST_FALL * fall else None


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
    low, high = np.quantile(knees, ENDS) if point is not None and len(counts) > 1 else (None, None)
    several = len(counts) > 1
    enough_low, enough_high = np.quantile([enough(tokens, curve) for curve in again], ENDS) if several else (None, None)
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
