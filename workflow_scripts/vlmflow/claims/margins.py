"""The statistics of claims that an effect is nowhere larger than a margin."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vlmflow.analysis.bootstrap import at, highest, lowest
from vlmflow.analysis.line import Line

from .one_line import rise

if TYPE_CHECKING:
    from .declared import Measure

Find = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _furthest(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
    points = np.abs(choose).argmax(axis=1)
    return at(measured, points) * np.sign(at(choose, points))


def _minimum(_line: Line, _measure: "Measure") -> Find:
    """The lowest value, for a claim that no value is lower."""
    return lowest


def _maximum(_line: Line, _measure: "Measure") -> Find:
    """The highest value, for a claim that no value is higher."""
    return highest


def _largest(_line: Line, _measure: "Measure") -> Find:
    """The largest absolute value; of two lines, the largest absolute difference."""
    return _furthest


def _largest_rise_between_drops(line: Line, measure: "Measure") -> Find:
    """The rise between drops, for a claim that there is none."""
    return rise(line, measure)


# Each takes a line to a function that finds a point on its first argument, and measures there on its second one.
MARGINS: dict[str, Callable[[Line, "Measure"], Find]] = {
    "minimum": _minimum,
    "maximum": _maximum,
    "largest": _largest,
    "largest difference": _largest,
    "largest rise between drops": _largest_rise_between_drops,
}


def spread(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(1 + resamples) the highest less the lowest of several values; see `Resampled.crossed`."""
    return highest(choose, measured) - lowest(choose, measured)
