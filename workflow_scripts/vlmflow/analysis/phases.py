"""Phases of inference, found on the curves of contextualisation; [phase].

A phase is a run of layers in which the three similarities (between image and text, within image, within text) change
steadily: a straight line each.  For every number of phases the best cuts are found exactly (dynamic programming).  The
data support as few as describe all of the curves' variance but a twentieth, and what sampling error explains: any bend
could be cut into more and more lines, and a criterion of fit alone would have them all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import ruptures
from ruptures.base import BaseCost

from vlmflow.tables import PAIRS, PHASE_NAMES

from .bootstrap import ENDS, draws

RESAMPLES = 500
LEAST = 2  # states in a phase
LEAST_WEIGHT = 1e-3  # of a curve
FLAT = 1e-9  # standard deviation of a curve that does not change
LEFT = 0.05  # of a curve's variance, that lines need not describe
CHANCE = 2.0  # times the sampling error, which lines need not describe either: by chance it is more than expected


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
        self.errors = np.maximum(yy - xy**2 / np.maximum(xx, 1e-12)[..., None], 0)  # [start, end, curve]
        return self

    def error(self, start: int, end: int) -> float:
        """Of the states `start` … `end` − 1."""
        return float(self.errors[start, end].sum())

    def of_each(self, ends: Sequence[int]) -> np.ndarray:
        """(curves) mean squared distance of each curve to the lines of phases that end there."""
        return sum(self.errors[start, end] for start, end in pairwise([0, *ends])) / len(self.signal)


def most_phases(states: int, curves: int) -> int:
    """How many phases so many states can tell apart: no more than have two thirds as many parameters as there are
    values, and two states each."""
    return max(1, min((2 * states * curves // 3 + 1) // (2 * curves + 1), states // LEAST))


def cuts(curves: np.ndarray, most: int) -> dict[int, list[int]]:
    """Number of phases, up to `most` → where each of them ends, the best for this number; (states, curves)."""
    search = ruptures.Dynp(custom_cost=StraightLines(), min_size=LEAST, jump=1).fit(curves)
    # Asked for no cut at all, the search refuses.
    return {1: [len(curves)]} | {number: search.predict(n_bkps=number - 1) for number in range(2, most + 1)}


def supported(curves: np.ndarray, found: dict[int, list[int]], error: np.ndarray | float = 0.0) -> int:
    """The smallest number of phases whose lines describe every curve, or the largest there is.

    Args:
        curves: (states, curves), each scaled to a variance of 1.
        found: number of phases → where they end.
        error: (curves) mean squared sampling error of each, in the same scale.
    """
    cost = StraightLines().fit(curves)
    enough = [number for number in found if (cost.of_each(found[number]) <= LEFT + CHANCE * error).all()]
    return min(enough, default=max(found))


def sampling_error(mean: np.ndarray, resampled: Sequence[np.ndarray]) -> np.ndarray:
    """(curves) how far resampled curves are from their mean, squared, but for what one straight line would take: that a
    whole curve lies higher or lower makes no phases."""
    return np.mean([StraightLines().fit(curves - mean).of_each([len(mean)]) for curves in resampled], axis=0)


def names_of(slopes: np.ndarray) -> tuple[str, ...]:
    """The names of the phases that change (phases, between and within image and within text) so much a layer: those of
    [phase] where there are four that do what it says, else none.

    Image and text come closer in the first, part again in the second while image or text grow more alike within, and
    come closer in the third; of the last one, nothing is asked.
    """
    if len(slopes) == len(PHASE_NAMES):
        between = slopes[:, 0]
        if between[0] > 0 > between[1] and max(slopes[1, 1:]) > 0 and between[2] > 0:
            return PHASE_NAMES
    return ("",) * len(slopes)


def find_phases(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `similarity` of one model and task to the table `phases`, without model and task.

    The three corrected curves are scaled to the same variance, less of it where it is sampling error.  Pictures are
    resampled, and in each resample phases are found anew: for the interval of each cut, and for their number, which is
    the one that most resamples support.
    """
    parts = [pl.DataFrame(_of_prompt(group, seed)) for group in rows.partition_by("prompt", maintain_order=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def _of_prompt(rows: pl.DataFrame, seed: int) -> list[dict]:
    layers = rows["layer"].unique().sort().to_list()
    totals, counts = _by_picture(rows, layers)
    mean = (totals.sum(axis=0) / counts.sum()).reshape(len(layers), len(PAIRS))
    scale = np.where(mean.std(axis=0) > FLAT, mean.std(axis=0), 1.0)
    resampled = [
        (drawn @ totals / (drawn @ counts)).reshape(mean.shape) / scale for drawn in draws(len(counts), seed, RESAMPLES)
    ]
    error = sampling_error(mean / scale, resampled)
    # A curve that is mostly error has little to say about where to cut.
    weight = np.sqrt(np.clip(1 - error, LEAST_WEIGHT, 1))
    found = cuts(mean / scale * weight, most_phases(*mean.shape))
    again = [cuts(curves * weight, max(found)) for curves in resampled]
    # A resample is off the truth by the sample's own error and by that of resampling.
    votes = Counter(supported(curves, each, 2 * error) for curves, each in zip(resampled, again, strict=True))
    number = min(votes, key=lambda each: (-votes[each], each))
    several = len(counts) > 1
    about = {
        "prompt": rows["prompt"][0],
        "supported": number,
        "agreement": 100 * votes[number] / len(resampled) if several else None,
        "questions": int(counts.sum()),
        "pictures": len(counts),
    }
    return [
        about | row
        for of in sorted({number, len(PHASE_NAMES)} & set(found))
        for row in _rows(mean, layers, found[of], [each[of] for each in again] if several else [])
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
    """A row a phase; without intervals where nothing was resampled."""
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    slopes = np.array([np.polyfit(np.arange(end - start), mean[start:end], 1)[0] for start, end in spans])
    names = names_of(slopes)
    for place, (start, end) in enumerate(spans):
        # The first phase begins where the model does.
        begins = [layers[each[place - 1]] for each in again] if place else [layers[0]]
        low, high = np.quantile(begins, ENDS).tolist() if begins else (None, None)
        yield {
            "of": len(ends),
            "phase": place + 1,
            "name": names[place],
            "first": layers[start],
            "last": layers[end - 1],
            "between": float(slopes[place, 0]),
            "within_image": float(slopes[place, 1]),
            "within_text": float(slopes[place, 2]),
            "low": low,
            "high": high,
        }
