"""From the resamples of a statistic to a verdict."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import norm

from vlmflow.analysis.bootstrap import CONFIDENCE

from .declared import Test

Verdict = Literal["supported", "contradicted", "undecided", "does not apply"]
LEVEL = (1 - CONFIDENCE) / 2  # of each side


def sides(test: Test, estimates: np.ndarray) -> tuple[float, float]:
    """(p-value against the claim being false, p-value against it being true), both one-sided.

    Of two estimates, the one decides that is further from doing so.

    They are the shares of the resamples on the other side, so that a p-value of at most 2.5 % means that the whole 95 %
    interval lies on one side.  If no resample is there, the tail of a normal distribution gives a value below one over
    the number of resamples, which corrections for many scopes need.

    Args:
        test: with its rule.
        estimates: (1 or 2, 1 + resamples) of the statistic, the sample first.
    """
    of_each = [_sides(test, values[1:]) for values in estimates]
    return max(false for false, _ in of_each), max(true for _, true in of_each)


def _sides(test: Test, again: np.ndarray) -> tuple[float, float]:
    if test.above is not None:
        return _share(again, again <= test.above, test.above), _share(again, again > test.above, test.above)
    if test.below is not None:
        return _share(again, again >= test.below, test.below), _share(again, again < test.below, test.below)
    low, high = test.within or (0.0, 0.0)
    outside = (_share(again, again < low, low), _share(again, again > high, high))
    inside = (_share(again, again >= low, low), _share(again, again <= high, high))
    return max(outside), min(inside)


def _share(values: np.ndarray, outside: np.ndarray, limit: float) -> float:
    """The share of the resamples that are beyond a limit, or the normal tail there if there are none."""
    count, resolution = int(outside.sum()), 1 / (len(values) + 1)
    if count:
        return (count + 1) * resolution
    spread = values.std()
    tail = float(norm.sf(abs(values.mean() - limit) / spread)) if spread > 0 else 0.0
    return min(resolution, tail)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, adjusted after Holm (1979)."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda each: p[each])):
        largest = max(largest, (len(p) - rank) * p[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def verdict(p_false: float, p_true: float) -> Verdict:
    """The verdict from the two adjusted p-values; see `sides`."""
    if p_false <= LEVEL:
        return "supported"
    return "contradicted" if p_true <= LEVEL else "undecided"


def verdict_of_all(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim that holds if all of its parts do; parts that do not apply are left out."""
    applied = [each for each in verdicts if each != "does not apply"]
    if not applied:
        return "does not apply"
    if "contradicted" in applied:
        return "contradicted"
    return "undecided" if "undecided" in applied else "supported"
