"""The knee of a falling curve: the point behind which it falls much more slowly; [thesis]."""

import numpy as np

RESAMPLES = 500
LEAST_FALL = 0.5  # share of the fall that is done at a knee, at least
SLOWER = 0.25  # slope behind a knee over the slope before it, at most
LEAST_FOUND = 50  # percent of the resamples that must have a knee
REST = 0.05  # share of the fall that may be missing where the tokens are enough


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
