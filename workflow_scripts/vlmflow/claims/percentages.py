"""Percentages in which nothing varies."""

import numpy as np
from scipy.stats import beta

ROUNDING = 1e-6  # percentage points


def with_rare_events(values: np.ndarray, images: int, difference: bool) -> np.ndarray:
    """Percentages as they are; or, if all resamples agree, as Jeffreys' interval has them.

    If all or no answers are correct, or none of them changes, resampling has no spread, although the next question may
    be the first that is wrong, or that changes.

    Args:
        values: (1 + resamples) percentages, or differences of two, the sample first.
        images: whose questions are counted as one.
        difference: whether the values are differences; the two directions of a change are then independent.
    """
    if np.ptp(values) >= ROUNDING:
        return values
    parts = (np.arange(len(values) - 1) + 0.5) / (len(values) - 1)
    if difference:
        changed = beta.ppf(parts, 0.5, images + 0.5)
        other = np.random.default_rng(0).permutation(changed)
        return np.append(values[:1], values[1:] + 100 * (changed - other))
    if min(values[0], 100 - values[0]) >= ROUNDING:
        return values
    right = round(images * values[0] / 100)
    return np.append(values[:1], 100 * beta.ppf(parts, right + 0.5, images - right + 0.5))
