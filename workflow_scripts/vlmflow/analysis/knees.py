"""The knee of a falling curve: the point from which on it falls much more slowly; [thesis]."""

import numpy as np

RESAMPLES = 500
LEAST_FALL = 0.5  # smallest share of the total fall before a knee
SLOWER = 0.25  # largest ratio of the slope after a knee to the slope before it
LEAST_FOUND = 50  # smallest percentage of the resamples that must have a knee
REST = 0.05  # share of the total fall that may still be missing if the tokens are enough


def knee(tokens: np.ndarray, loss: np.ndarray) -> float | None:
    """The number of tokens at the knee of a falling curve, or None if it has no knee.

    The curve is taken over doublings of 1 + tokens, as the figure draws it.  For a bend at each of these numbers a bent
    line is fitted, and the best one is kept.  Its bend is a knee if the loss falls before it, if at least half of the
    fall is before it, and if the slope after it is at most a quarter of the slope before it.  A curve that falls evenly
    with every doubling has no knee.
    """
    steps, fall = np.log2(1 + tokens), loss[0] - loss[-1]
    if fall <= 0 or len(tokens) < 4:
        return None
    fits = []
    for bend in steps[1:-1]:
        basis = np.column_stack([np.ones_like(steps), steps, np.maximum(steps - bend, 0)])
        weights = np.linalg.lstsq(basis, loss, rcond=None)[0]
        fits.append((float(((basis @ weights - loss) ** 2).sum()), bend, weights[1], weights[1] + weights[2]))
    _, bend, before, after = min(fits)
    tokens_at_bend = float(2**bend - 1)
    fall_before = loss[0] - np.interp(tokens_at_bend, tokens, loss)
    is_knee = before < 0 and after >= SLOWER * before and fall_before >= LEAST_FALL * fall
    return tokens_at_bend if is_knee else None


def enough(tokens: np.ndarray, loss: np.ndarray) -> float:
    """The smallest of these numbers of tokens from which on the loss exceeds the loss with all tokens by at most `REST`
    of the total fall."""
    limit = loss[-1] + REST * max(0.0, loss[0] - loss[-1])
    above = np.flatnonzero(loss > limit)
    return float(tokens[above[-1] + 1] if len(above) else tokens[0])
