"""Phases of curves: runs of layers in which all of them change steadily.

A phase is a run of states through which each curve is a straight line.  For every number of phases the best cuts are
found exactly (dynamic programming).  The data support the smallest number whose lines describe all of the curves'
variance but a twentieth, and what sampling error explains: any bend could be cut into more and more lines, and a
criterion of fit alone would accept them all.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import ruptures
from ruptures.base import BaseCost

RESAMPLES = 500
LEAST = 2  # states in a phase
LEAST_WEIGHT = 1e-3  # of a curve
FLAT = 1e-9  # standard deviation of a curve that does not change
LEFT = 0.05  # share of a curve's variance that lines need not describe
CHANCE = 2.0  # times the sampling error, which lines need not describe either; it may exceed its expectation by chance


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
        """The error of one phase of the states `start` … `end` − 1."""
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
