"""The statistics of one line: each takes a line to one number per resample, the sample first."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from vlmflow.analysis.bootstrap import at, highest, lowest
from vlmflow.analysis.knees import knee
from vlmflow.analysis.line import Line, NotDefinedError

if TYPE_CHECKING:
    from .declared import Measure

NEAR = 0.06  # of the depth; a value that is farther away is not one at this depth


def _mean(line: Line) -> np.ndarray:
    """The mean over the points."""
    return line.values.whole.mean(axis=1)


def _share(line: Line, measure: "Measure") -> np.ndarray:
    """A percentage: the mean over the points, or the value at the depth `at`."""
    return _mean(line) if measure.at is None else _value(line, measure)


def _value(line: Line, measure: "Measure") -> np.ndarray:
    """The value at the depth `at`: the point that is nearest to it."""
    asked = measure.at or 0
    at_depth = not np.isnan(line.depth).any()
    points = line.depth if at_depth else line.x
    nearest = np.abs(points - asked).argmin()
    if at_depth:
        # Windows end one layer before a depth of 1, and states begin one behind 0; elsewhere, half a layer is missing.
        layer = (line.depth[-1] - line.depth[0]) / (line.x[-1] - line.x[0]) if len(line.x) > 1 else 0.0
        farthest = max(NEAR, layer if asked in (0, 1) else layer / 2)
        if abs(points[nearest] - asked) > farthest + 1e-9:
            raise NotDefinedError(f"nothing was measured near a depth of {asked:g}")
    elif not points[0] <= asked <= points[-1]:
        raise NotDefinedError(f"nothing was measured at {asked:g}, but from {points[0]:g} to {points[-1]:g}")
    return line.values.whole[:, nearest]


def _lowest(line: Line) -> np.ndarray:
    """The lowest value."""
    return line.values.crossed(lowest)


def _highest(line: Line) -> np.ndarray:
    """The highest value."""
    return line.values.crossed(highest)


def _depth_of_lowest(line: Line) -> np.ndarray:
    """The depth of the lowest value."""
    return _where_it_varies(line, line.depth[line.values.whole.argmin(axis=1)])


def _depth_of_highest(line: Line) -> np.ndarray:
    """The depth of the highest value."""
    return _where_it_varies(line, line.depth[line.values.whole.argmax(axis=1)])


def _where_it_varies(line: Line, depths: np.ndarray) -> np.ndarray:
    """The depths, but for resamples in which the line is constant: there is no extreme."""
    return np.where(np.ptp(line.values.whole, axis=1) > 0, depths, np.nan)


def _share_of_loss(line: Line, measure: "Measure") -> np.ndarray:
    """The share of the area under the losses (values below 0) that lies in the band `part`."""
    losses = np.maximum(-line.values.whole, 0)
    inside = line.at_points(np.arange(len(line.x))).within(measure.part).x
    if not len(inside):
        raise NotDefinedError(f"the model has no layer in the part {list(measure.part or ())} of its depth")
    total = losses.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return losses[:, np.isin(line.x, inside)].sum(axis=1) / total


def _half(values: np.ndarray) -> np.ndarray:
    """The middle between the lowest and the highest value of each resample."""
    return (values.min(axis=1) + values.max(axis=1))[:, None] / 2


def _depth_of_half_rise(line: Line) -> np.ndarray:
    """The depth at which the line first reaches the middle between its lowest and its highest value."""
    values = line.values.whole
    return line.depth[(values >= _half(values)).argmax(axis=1)]


def in_drop(values: np.ndarray) -> np.ndarray:
    """Whether each point is below half of the lowest value."""
    return values < values.min(axis=1)[:, None] / 2


def _onset(line: Line) -> np.ndarray:
    """The depth from which on the line stays above the mean of its lower half of layers; 1 if it does not."""
    values = line.values.whole
    above = values > values[:, line.depth < 0.5].mean(axis=1)[:, None]
    staying = np.logical_and.accumulate(above[:, ::-1], axis=1)[:, ::-1].sum(axis=1)
    return np.append(line.depth, 1.0)[len(line.x) - staying]


def _begin_of_drop(line: Line) -> np.ndarray:
    """The depth of the first point that is below half of the lowest value, if that is below 0."""
    inside = in_drop(line.values.whole)
    return np.where(inside.any(axis=1), line.depth[inside.argmax(axis=1)], np.nan)


def _end_of_drop(line: Line) -> np.ndarray:
    """The depth of the last point that is below half of the lowest value, if that is below 0."""
    inside = in_drop(line.values.whole)
    return np.where(inside.any(axis=1), line.depth[inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)], np.nan)


def _rise_between_drops(line: Line, measure: "Measure") -> np.ndarray:
    """How much the highest point between the lowest ones of two bands, `drops`, exceeds both of them."""
    return line.values.crossed(rise(line, measure))


def rise(line: Line, measure: "Measure") -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How a rise between drops is found on one array (1 + resamples, points) and measured on another."""
    first, second = (np.isin(line.x, line.within(band).x) for band in measure.drops or ())
    if not first.any() or not second.any():
        raise NotDefinedError("the model has too few layers for two bands of them")
    points = np.arange(len(line.x))

    def between_drops(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        a = np.where(first, choose, np.inf).argmin(axis=1)
        b = np.where(second, choose, np.inf).argmin(axis=1)
        between = (points > a[:, None]) & (points < b[:, None])
        c = np.where(between, choose, -np.inf).argmax(axis=1)
        above = at(measured, c) - np.maximum(at(measured, a), at(measured, b))
        return np.where(between.any(axis=1), above, 0.0)

    return between_drops


def _valley(line: Line) -> np.ndarray:
    """The depth of the deepest valley between two maxima, as a share of the line's range; 0 if there is one maximum."""

    def valley(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        left = np.maximum.accumulate(choose, axis=1)
        right = np.maximum.accumulate(choose[:, ::-1], axis=1)[:, ::-1]
        bottom = (np.minimum(left, right) - choose).argmax(axis=1)
        index = np.arange(choose.shape[1])
        peaks = [
            at(measured, np.where(side, choose, -np.inf).argmax(axis=1))
            for side in (index <= bottom[:, None], index >= bottom[:, None])
        ]
        width = measured.max(axis=1) - measured.min(axis=1)
        with np.errstate(invalid="ignore"):
            return (np.minimum(*peaks) - at(measured, bottom)) / width

    return line.values.crossed(valley)


def _rises(values: np.ndarray) -> np.ndarray:
    """(1 + resamples, points − width) the rise over an eighth of the points from each of them."""
    if values.shape[1] < 2:
        raise NotDefinedError("a line of one point has no rise")
    width = max(1, round(values.shape[1] / 8))
    return values[:, width:] - values[:, :-width]


def _depth_of_steepest_rise(line: Line) -> np.ndarray:
    """The depth in the middle of the eighth of the layers over which the line rises most."""
    width = max(1, round(len(line.x) / 8))
    steepest = _rises(line.values.whole).argmax(axis=1)
    return ((line.depth[width:] + line.depth[:-width]) / 2)[steepest]


def _steepness(line: Line) -> np.ndarray:
    """The slope of the steepest rise over an eighth of the layers, in units of range over number of layers."""

    def steepness(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        width = max(1, round(choose.shape[1] / 8))
        rise = at(_rises(measured), _rises(choose).argmax(axis=1)) / width
        with np.errstate(invalid="ignore", divide="ignore"):
            return rise * (choose.shape[1] - 1) / (measured.max(axis=1) - measured.min(axis=1))

    return line.values.crossed(steepness)


def _trend(line: Line) -> np.ndarray:
    """Spearman's correlation of the value with the position."""
    return rank_correlation(line.values.whole, np.broadcast_to(line.x, line.values.whole.shape))


def _strongest_share(line: Line, measure: "Measure") -> np.ndarray:
    """The share of the total that the strongest `share` of the points has, in percent."""

    def share(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return 100 * _strongest(choose, measured, measure).sum(axis=1) / measured.sum(axis=1)

    return line.values.crossed(share)


def _strongest_excess(line: Line, measure: "Measure") -> np.ndarray:
    """How much the mean of the strongest `share` of the points exceeds the mean of all and, if above 0, twice that."""

    def excess(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
        mean = measured.mean(axis=1)
        return _strongest(choose, measured, measure).mean(axis=1) - mean - np.maximum(mean, 0)

    return line.values.crossed(excess)


def _strongest(choose: np.ndarray, measured: np.ndarray, measure: "Measure") -> np.ndarray:
    number = max(1, round((measure.share or 0.05) * choose.shape[1]))
    return np.take_along_axis(measured, np.argsort(-choose, axis=1, kind="stable")[:, :number], axis=1)


def _knee_found(line: Line) -> np.ndarray:
    """1 if the line has a knee, and 0 if it has none."""
    return np.array([float(knee(line.x, each) is not None) for each in line.values.whole])


def correlation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the rows of two arrays; not a number for a constant row."""
    one, two = (values - values.mean(axis=1, keepdims=True) for values in (one, two))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * two).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))


def rank_correlation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the rows of two arrays."""
    return correlation(rankdata(one, axis=1), rankdata(two, axis=1))


# The statistics of one line: those that have no keys, and those that have.
OF_LINE: dict[str, Callable[[Line], np.ndarray]] = {
    "mean": _mean,
    "lowest": _lowest,
    "highest": _highest,
    "depth of lowest": _depth_of_lowest,
    "depth of highest": _depth_of_highest,
    "depth of half rise": _depth_of_half_rise,
    "onset": _onset,
    "begin of drop": _begin_of_drop,
    "end of drop": _end_of_drop,
    "valley": _valley,
    "depth of steepest rise": _depth_of_steepest_rise,
    "steepness": _steepness,
    "trend": _trend,
    "knee found": _knee_found,
}
OF_LINE_AND_KEYS: dict[str, Callable[[Line, "Measure"], np.ndarray]] = {
    "share": _share,
    "value": _value,
    "share of loss": _share_of_loss,
    "rise between drops": _rise_between_drops,
    "strongest share": _strongest_share,
    "strongest excess": _strongest_excess,
}
