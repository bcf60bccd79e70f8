"""Phases of curves: runs of layers in which all curves change steadily.

A phase is a run of states in which each curve is a straight line.  For every number of phases the best cuts are found
exactly (dynamic programming, in all resamples at once).  The data support the smallest number whose lines leave at most
5 % of a curve's variance undescribed, beside the part that sampling error explains.  The tolerance is needed, since any
bend can be cut into more and more lines, and a criterion of fit alone would accept all of them.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

RESAMPLES = 500
CHUNK = 250  # resamples whose phases are found at a time; this limits the memory
LEAST = 2  # states in a phase
LEAST_WEIGHT = 1e-3  # smallest weight of a curve
FLAT = 1e-9  # standard deviation of a curve that does not change
LEFT = 0.05  # share of a curve's variance that lines need not describe
CHANCE = 2.0  # times the sampling error need not be described either; by chance, it can exceed its expectation


class StraightLines:
    """The straight line that fits each curve best in each run of states, for many sets of curves at once.

    Attributes:
        errors: (sets, start, end, curves) squared distance of the states `start` … `end` − 1 to their line.
        slopes: (sets, start, end, curves) change per state along this line.
    """

    def __init__(self, curves: np.ndarray) -> None:
        """Fit lines to `curves`, (sets, states, curves), from running sums."""
        centred = curves - curves.mean(axis=1, keepdims=True)
        steps = np.arange(curves.shape[1], dtype=float)

        def running(values: np.ndarray) -> np.ndarray:
            sums = np.concatenate([np.zeros_like(values[:, :1]), np.cumsum(values, axis=1)], axis=1)
            return sums[:, None] - sums[:, :, None]  # [set, start, end]

        count = np.maximum(running(np.ones((1, len(steps), 1))), 1)
        x, y = running(steps[None, :, None]), running(centred)
        xx = np.maximum(running(steps[None, :, None] ** 2) - x**2 / count, 1e-12)
        xy = running(steps[None, :, None] * centred) - x * y / count
        yy = running(centred**2) - y**2 / count
        self.slopes = xy / xx
        self.errors = np.maximum(yy - xy * self.slopes, 0)

    def distances(self, ends: np.ndarray) -> np.ndarray:
        """(sets, curves) mean squared distance of each curve to the lines of the phases that end at `ends`, (sets,
        phases)."""
        return np.asarray(sum(self._of_phases(self.errors, ends)) / (self.errors.shape[1] - 1))

    def slopes_of(self, ends: np.ndarray) -> np.ndarray:
        """(sets, phases, curves) the slopes of the phases that end at `ends`, (sets, phases)."""
        return np.stack(self._of_phases(self.slopes, ends), axis=1)

    def _of_phases(self, values: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
        begins = np.concatenate([np.zeros_like(ends[:, :1]), ends], axis=1)
        sets = np.arange(len(values))
        return [values[sets, begins[:, phase], ends[:, phase]] for phase in range(ends.shape[1])]


def most_phases(states: int, curves: int) -> int:
    """The largest number of phases that so many states can distinguish: their parameters are at most two thirds of the
    number of values, and each phase has at least two states."""
    return max(1, min((2 * states * curves // 3 + 1) // (2 * curves + 1), states // LEAST))


def cuts(curves: np.ndarray, most: int) -> dict[int, np.ndarray]:
    """Number of phases, up to `most` → (sets, phases) their best ends.

    Args:
        curves: (sets, states, curves).
        most: number of phases.
    """
    cost = StraightLines(curves).errors.sum(axis=3)
    states = curves.shape[1]
    index = np.arange(states + 1)
    cost[:, index[:, None] + LEAST > index[None, :]] = np.inf
    best, begins = [cost[:, 0]], []
    for _ in range(1, most):
        through = best[-1][:, :, None] + cost  # [set, start of the last phase, its end]
        begins.append(through.argmin(axis=1))
        best.append(through.min(axis=1))
    found = {}
    for number in range(1, most + 1):
        ends = [np.full(len(curves), states)]
        for begin in reversed(begins[: number - 1]):
            ends.insert(0, np.take_along_axis(begin, ends[0][:, None], axis=1)[:, 0])
        found[number] = np.stack(ends, axis=1)
    return found


def supported(curves: np.ndarray, found: dict[int, np.ndarray], error: np.ndarray | float = 0.0) -> np.ndarray:
    """(sets) the smallest number of phases whose lines describe every curve, or else the largest number.

    Args:
        curves: (sets, states, curves), each scaled to a variance of 1.
        found: number of phases → (sets, phases) their ends.
        error: (curves) mean squared sampling error of each curve, on the same scale.
    """
    lines, number = StraightLines(curves), np.full(len(curves), max(found))
    for each in sorted(found, reverse=True):
        number[(lines.distances(found[each]) <= LEFT + CHANCE * error).all(axis=1)] = each
    return number


def sampling_error(mean: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """(curves) mean squared distance of resampled curves from their mean, without the part that one straight line
    describes: a shift of a whole curve does not change its phases."""
    whole = np.full((len(resampled), 1), mean.shape[0])
    return np.asarray(StraightLines(resampled - mean).distances(whole).mean(axis=0))


def scaled(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(curves scaled to a variance of 1 in the sample, weight of each curve for the cuts).

    Args:
        curves: (1 + resamples, states, curves), the sample first.
    """
    spread = curves[0].std(axis=0)
    scaled = curves / np.where(spread > FLAT, spread, 1.0)
    # A curve that is mostly sampling error carries little information about the cuts.
    return scaled, np.sqrt(np.clip(1 - sampling_error(scaled[0], scaled[1:]), LEAST_WEIGHT, 1))


def numbers_supported(curves: np.ndarray) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """(number of phases → (sets, phases) their best ends, (sets) number that is supported).

    Args:
        curves: (1 + resamples, states, curves), the sample first.
    """
    each, weight = scaled(curves)
    found = cuts(each * weight, most_phases(*curves.shape[1:]))
    # A resample has the error of the sample and, in addition, that of resampling.
    error = np.outer(np.where(np.arange(len(curves)) == 0, 1, 2), sampling_error(each[0], each[1:]))
    return found, supported(each, found, error)


def pairs_of(ends: list[int]) -> list[tuple[int, int]]:
    """(first state, end) of each phase."""
    return list(pairwise([0, *ends]))


def _in_chunks(curves: np.ndarray, found: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.concatenate([found(curves[start : start + CHUNK]) for start in range(0, len(curves), CHUNK)])


def fitted_phases(curves: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(change per layer (1 + resamples, phases, curves), ends (1 + resamples, phases)) of phases that are cut in each
    resample.

    Args:
        curves: (1 + resamples, states, curves), the sample first.
        number: of phases.
    """
    return _fitted(curves.tobytes(), curves.shape, number)


@lru_cache(maxsize=8)  # several claims are about the phases of the same curves
def _fitted(values: bytes, shape: tuple[int, ...], number: int) -> tuple[np.ndarray, np.ndarray]:
    curves = np.frombuffer(values).reshape(shape)
    each, weight = scaled(curves)
    ends = _in_chunks(each * weight, lambda chunk: cuts(chunk, number)[number])
    chunks = range(0, len(curves), CHUNK)
    slopes = [StraightLines(curves[n : n + CHUNK]).slopes_of(ends[n : n + CHUNK]) for n in chunks]
    return np.concatenate(slopes), ends


def phases_supported(curves: np.ndarray) -> np.ndarray:
    """(1 + resamples) the number of phases that the curves support; see `numbers_supported`."""
    again = [curves[start : start + CHUNK] for start in range(1, len(curves), CHUNK)]
    numbers = [numbers_supported(np.concatenate([curves[:1], chunk]))[1] for chunk in again]
    return np.concatenate([numbers[0][:1], *(each[1:] for each in numbers)]).astype(float)
