"""The statistics of claims, by their names: each takes lines to one number per resample, the sample first.

Statistics that show how large an effect is at a point that they choose, such as the lowest one, choose it on one half
of the images and measure on the other (`Resampled.crossed`).  Those with which it is tested that an effect is nowhere
larger than a margin (`MARGINS`) are measured both ways, since they exceed the truth if they take all images: the claim
holds only if they agree that it does, and fails only if they agree that it does not.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlmflow.analysis.bootstrap import at
from vlmflow.analysis.line import Line, NotDefinedError
from vlmflow.analysis.phases import LEAST, RESAMPLES, fitted_phases, phases_supported

from .one_line import OF_LINE, OF_LINE_AND_KEYS, correlation, in_drop, rank_correlation

if TYPE_CHECKING:
    from .declared import Measure

__all__ = ["JOINT", "OF_LINE", "OF_LINE_AND_KEYS", "OF_TWO_LINES", "NotDefinedError", "rank_correlation"]

FOUR = 4  # phases of [phase]


def _difference_at_peak(line: Line, other: Line) -> np.ndarray:
    """How much the first line exceeds the second where the first is highest."""

    def difference(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        own = choose[:, : choose.shape[1] // 2].argmax(axis=1)
        first, second = np.split(measured, 2, axis=1)
        return at(first, own) - at(second, own)

    return line.combined(other, lambda a, b: np.concatenate([a, b], axis=-1)).values.crossed(difference)


def _correlation(line: Line, other: Line) -> np.ndarray:
    """Pearson's correlation of two lines over their points."""
    return correlation(line.values.whole, line.combined(other, lambda _, b: b).values.whole)


def _overlap(line: Line, other: Line) -> np.ndarray:
    """The share of the shorter one of two drops (points below half of the lowest value) that lies in the other."""
    one = in_drop(line.values.whole)
    two = in_drop(line.combined(other, lambda _, b: b).values.whole)
    shorter = np.minimum(one.sum(axis=1), two.sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (one & two).sum(axis=1) / shorter


def _phase_slope(lines: Sequence[Line], own: int, measure: "Measure") -> np.ndarray:
    """The change per layer of one line in phase number `phase` of four, which are cut on all lines jointly."""
    return _four_phases(lines)[0][:, (measure.phase or 1) - 1, own]


def _phase_end(lines: Sequence[Line], own: int, measure: "Measure") -> np.ndarray:
    """The depth of the last state of phase number `phase` of four, which are cut on all lines jointly."""
    return lines[own].depth[_four_phases(lines)[1][:, (measure.phase or 1) - 1] - 1]


def _four_phases(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray]:
    if len(lines[0].x) < FOUR * LEAST:
        raise NotDefinedError(f"{len(lines[0].x)} states are too few for four phases")
    return fitted_phases(_stacked(lines), FOUR)


def _phases(lines: Sequence[Line], _own: int, _measure: "Measure") -> np.ndarray:
    """The number of phases that the lines support jointly."""
    return phases_supported(_stacked(lines))


def _stacked(lines: Sequence[Line]) -> np.ndarray:
    return np.stack([line.values.whole[: RESAMPLES + 1] for line in lines], axis=2)


OF_TWO_LINES: dict[str, Callable[[Line, Line], np.ndarray]] = {
    "difference at peak": _difference_at_peak,
    "correlation": _correlation,
    "overlap": _overlap,
}
JOINT: dict[str, Callable[[Sequence[Line], int, "Measure"], np.ndarray]] = {
    "phase slope": _phase_slope,
    "phase end": _phase_end,
    "phases": _phases,
}
