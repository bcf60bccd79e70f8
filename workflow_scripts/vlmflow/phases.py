"""Phases of inference, found on the curves of contextualisation; [phase].

A phase is a run of layers in which the three similarities (between image and text, within image, within text) change
steadily: a straight line each.  For every number of phases the best cuts are found exactly (dynamic programming), and
the number is the one that the data support: more phases fit better, and Bayes' information criterion says whether by
more than their parameters buy.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import ruptures
from ruptures.base import BaseCost

from .statistics import ENDS, draws
from .tables import PAIRS, PHASE_NAMES

RESAMPLES = 500
LEAST = 2  # states in a phase
FLAT = 1e-9  # standard deviation of a curve that does not change
SMALLEST = 1e-9  # mean squared distance to the lines, of curves whose variance is 1, below which all fits are the same


class StraightLines(BaseCost):
    """Squared distance of the curves to the straight lines that fit them best."""

    model = "straight lines"
    min_size = LEAST

    def fit(self, signal: np.ndarray) -> "StraightLines":
        """Take the curves, (states, curves), and find the distance of every run of states at once, from running
        sums."""
        self.signal = signal - signal.mean(axis=0)
        steps = np.arange(len(signal), dtype=float)

        def running(values: np.ndarray) -> np.ndarray:
            sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
            return sums[None] - sums[:, None]  # [start, end]

        count = np.maximum(running(np.ones(len(signal))), 1)
        x, y = running(steps), running(self.signal)
        xx = running(steps**2) - x**2 / count
        xy = running(steps[:, None] * self.signal) - x[..., None] * y / count[..., None]
        yy = running(self.signal**2) - y**2 / count[..., None]
        self.errors = np.maximum(yy - xy**2 / np.maximum(xx, 1e-12)[..., None], 0).sum(axis=-1)
        return self

    def error(self, start: int, end: int) -> float:
        """Of the states `start` … `end` − 1."""
        return float(self.errors[start, end])


def most_phases(states: int, curves: int) -> int:
    """How many phases so many states can tell apart: no more than have two thirds as many parameters as there are
    values, and two states each."""
    return max(1, min((2 * states * curves // 3 + 1) // (2 * curves + 1), states // LEAST))


def cuts(curves: np.ndarray, most: int) -> dict[int, list[int]]:
    """Number of phases, up to `most` → where each of them ends, the best for this number; (states, curves)."""
    search = ruptures.Dynp(custom_cost=StraightLines(), min_size=LEAST, jump=1).fit(curves)
    # Asked for no cut at all, the search refuses.
    return {1: [len(curves)]} | {number: search.predict(n_bkps=number - 1) for number in range(2, most + 1)}


def supported(curves: np.ndarray, found: dict[int, list[int]]) -> int:
    """The number of phases with the lowest information criterion."""
    cost = StraightLines().fit(curves)
    values = curves.size

    def criterion(number: int) -> float:
        error = cost.sum_of_costs(found[number])
        parameters = number * 2 * curves.shape[1] + number - 1
        return values * np.log(max(error / values, SMALLEST)) + parameters * np.log(values)

    return min(found, key=criterion)


def find_phases(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `similarity` of one model and task to the table `phases`, without model and task.

    The three corrected curves are scaled to the same variance.  Pictures are resampled; in each resample, phases are
    found anew: for the interval of each cut, and for how often the same number of phases is supported.
    """
    parts = [pl.DataFrame(_of_prompt(group, seed)) for group in rows.partition_by("prompt", maintain_order=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def _of_prompt(rows: pl.DataFrame, seed: int) -> list[dict]:
    layers = rows["layer"].unique().sort().to_list()
    totals, counts = _by_picture(rows, layers)
    mean = (totals.sum(axis=0) / counts.sum()).reshape(len(layers), len(PAIRS))
    scale = np.where(mean.std(axis=0) > FLAT, mean.std(axis=0), 1.0)
    found = cuts(mean / scale, most_phases(*mean.shape))
    number = supported(mean / scale, found)
    resampled = [
        (drawn @ totals / (drawn @ counts)).reshape(mean.shape) / scale for drawn in draws(len(counts), seed, RESAMPLES)
    ]
    again = [cuts(curves, max(found)) for curves in resampled]
    same = [supported(curves, each) == number for curves, each in zip(resampled, again, strict=True)]
    about = {
        "prompt": rows["prompt"][0],
        "supported": number,
        "agreement": 100 * float(np.mean(same)),
        "questions": int(counts.sum()),
        "pictures": len(counts),
    }
    return [
        about | row
        for of in sorted({number, len(PHASE_NAMES)} & set(found))
        for row in _rows(mean, layers, found[of], [each[of] for each in again])
    ]


def _by_picture(rows: pl.DataFrame, layers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """((pictures, layers × pairs) sums over a picture's questions, (pictures) number of its questions)."""
    order = pl.DataFrame({"layer": layers}, schema={"layer": pl.Int32}).join(pl.DataFrame({"pair": PAIRS}), how="cross")
    cells = rows.group_by("image_id", "layer", "pair").agg(pl.col("corrected").sum(), count=pl.len())
    pictures = rows["image_id"].unique().sort()
    grid = pl.DataFrame({"image_id": pictures}).join(order, how="cross", maintain_order="left_right")
    full = grid.join(cells, on=["image_id", "layer", "pair"], how="left", maintain_order="left")
    totals = full["corrected"].to_numpy().reshape(len(pictures), -1)
    return totals, full["count"].to_numpy().reshape(len(pictures), -1)[:, 0].astype(float)


def _rows(mean: np.ndarray, layers: list[int], ends: list[int], again: list[list[int]]) -> Iterator[dict]:
    """A row a phase."""
    starts = [0, *ends[:-1]]
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # The first phase begins where the model does.
        low, high = np.quantile([layers[each[place - 1]] for each in again], ENDS) if place else (float(layers[0]),) * 2
        slopes = np.polyfit(np.arange(end - start), mean[start:end], 1)[0]
        yield {
            "of": len(ends),
            "phase": place + 1,
            "name": PHASE_NAMES[place] if len(ends) == len(PHASE_NAMES) else "",
            "first": layers[start],
            "last": layers[end - 1],
            "between": float(slopes[0]),
            "within_image": float(slopes[1]),
            "within_text": float(slopes[2]),
            "low": float(low),
            "high": float(high),
        }
