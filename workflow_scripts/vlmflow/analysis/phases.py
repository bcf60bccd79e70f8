"""Phases of curves: runs of layers in which all curves change steadily.

A phase is a run of states in which each curve is a straight line.  For every number of phases the best cuts are found
exactly (dynamic programming).  The data support the smallest number whose lines leave at most 5 % of a curve's variance
undescribed, beside the part that sampling error explains.  The tolerance is needed, since any bend can be cut into more
and more lines, and a criterion of fit alone would accept all of them.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import ruptures
from ruptures.base import BaseCost

RESAMPLES = 500
LEAST = 2  # states in a phase
LEAST_WEIGHT = 1e-3  # smallest weight of a curve
FLAT = 1e-9  # standard deviation of a curve that does not change
LEFT = 0.05  # share of a curve's variance that lines need not describe
CHANCE = 2.0  # times the sampling error need not be described either; by chance, it can exceed its expectation


class StraightLines(BaseCost):
    """Squared distance of the curves to the straight lines that fit them best."""

    model = "straight lines"
    min_size = LEAST

    def fit(self, signal: np.ndarray) -> "StraightLines":
        """Take the curves, (states, curves), and compute the distances of all runs of states from running sums."""
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
    """The largest number of phases that so many states can distinguish: their parameters are at most two thirds of the
    number of values, and each phase has at least two states."""
    return max(1, min((2 * states * curves // 3 + 1) // (2 * curves + 1), states // LEAST))


def cuts(curves: np.ndarray, most: int) -> dict[int, list[int]]:
    """Number of phases, up to `most` → the best ends of the phases for this number; `curves` is (states, curves)."""
    search = ruptures.Dynp(custom_cost=StraightLines(), min_size=LEAST, jump=1).fit(curves)
    # The search cannot be run for zero cuts.
    return {1: [len(curves)]} | {number: search.predict(n_bkps=number - 1) for number in range(2, most + 1)}


def supported(curves: np.ndarray, found: dict[int, list[int]], error: np.ndarray | float = 0.0) -> int:
    """The smallest number of phases whose lines describe every curve, or else the largest number.

    Args:
        curves: (states, curves), each scaled to a variance of 1.
        found: number of phases → their ends.
        error: (curves) mean squared sampling error of each curve, on the same scale.
    """
    cost = StraightLines().fit(curves)
    enough = [number for number in found if (cost.of_each(found[number]) <= LEFT + CHANCE * error).all()]
    return min(enough, default=max(found))


def sampling_error(mean: np.ndarray, resampled: Sequence[np.ndarray]) -> np.ndarray:
    """(curves) mean squared distance of resampled curves from their mean, without the part that one straight line
    describes: a shift of a whole curve does not change its phases."""
    return np.mean([StraightLines().fit(curves - mean).of_each([len(mean)]) for curves in resampled], axis=0)
