"""Stages of a flow: runs of layers in which knocking out an edge lowers a measure, each with its place and its effect.

A layer belongs to a stage if the mean change there is below `LEAST` at a false discovery rate of 5 % over all layers
and edges of the model.  A run of such layers is two stages if the line rises between them: by more than `RISE` with
95 % confidence, at points that are chosen on one half of the images and measured on the other.  The place of a stage is
that of its lowest mean, found anew in each resample; its effect is measured there on the half on which it was not
found.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import false_discovery_control, t

from vlmflow.tables import Column, Table

from .bootstrap import ENDS, at, lowest, quantile_ends
from .discovery import RATE
from .line import Line

LEAST = -1.0  # percent of the answer's probability; smaller changes are negligible
RISE = 1.0  # percentage points between two stages

STAGES = Table(
    "stages",
    {
        "model": Column(pl.String, "name in the study file"),
        "probe": Column(pl.String, "name in the study file"),
        "edge": Column(pl.String, "source -> target"),
        "window": Column(pl.Int32, "layers that are knocked out together", nullable=True),
        "stage": Column(pl.Int32, "from 1, from the first layers on; 0: none was found"),
        "first_layer": Column(pl.Int32, "of the stage, from 0; middle of the window", nullable=True),
        "last_layer": Column(pl.Int32, "of the stage", nullable=True),
        "layer": Column(pl.Int32, "of the lowest mean", nullable=True),
        "layer_low": Column(pl.Int32, "lower end of the 95 % interval of this layer", nullable=True),
        "layer_high": Column(pl.Int32, "upper end of the same interval", nullable=True),
        "layers": Column(pl.Int32, "of the model"),
        "effect": Column(pl.Float64, "lowest mean over the tasks, percent of the answer's probability", nullable=True),
        "low": Column(pl.Float64, "lower end of the 95 % interval of this extreme", nullable=True),
        "high": Column(pl.Float64, "upper end of the same interval", nullable=True),
        "tasks": Column(pl.List(pl.String), "over which the mean is taken, each with the same weight"),
        "questions": Column(pl.Int32, "number of questions"),
        "images": Column(pl.Int32, "number of images, which are resampled"),
        "reason": Column(pl.String, "why the edge could not be judged; null if it could", nullable=True),
    },
)


@dataclass(frozen=True)
class Stage:
    """A run of points of a line, with the place and the size of its lowest mean.

    Attributes:
        first, last: the first and the last point of the run.
        point: of the lowest mean.
        place: ends of the 95 % interval of this point.
        effect: the lowest mean.
        interval: ends of its 95 % interval.
    """

    first: int
    last: int
    point: int
    place: tuple[int, int]
    effect: float
    interval: tuple[float, float]


def find_stages(lines: Mapping[str, Line]) -> dict[str, list[Stage]]:
    """Edge → its stages, from the first layers on; none for an edge along which nothing was found.

    Args:
        lines: edge → the line of its mean change, of one model.
    """
    if not lines:
        return {}
    p = np.concatenate([_p_values(line) for line in lines.values()])
    found = np.split(false_discovery_control(p) <= RATE, np.cumsum([len(line.x) for line in lines.values()])[:-1])
    return {
        edge: [_stage(line, *run) for whole in _runs(below) for run in _split(line, *whole)]
        for (edge, line), below in zip(lines.items(), found, strict=True)
    }


def whole_line(line: Line) -> Stage:
    """The lowest mean of a line without a stage, as if all of it were one."""
    return _stage(line, 0, len(line.x) - 1)


def _p_values(line: Line) -> np.ndarray:
    """(points) one-sided p-value of a mean of at least `LEAST`; see `discovery.with_discovered`."""
    whole = line.values.whole
    error = whole[1:].std(axis=0, ddof=1)
    distance = whole[0] - LEAST
    with np.errstate(divide="ignore", invalid="ignore"):
        p = t.cdf(np.where(distance == 0, 0, distance / error), max(line.images - 1, 1))
    return np.asarray(p)


def _runs(below: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of points."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]]).astype(int)))
    yield from ((int(first), int(end) - 1) for first, end in edges.reshape(-1, 2))


def _split(line: Line, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The run, or the parts of it between which the line rises."""
    if last - first < 2:
        yield first, last
        return
    part = line.at_points(np.arange(first, last + 1)).values
    rises = part.crossed(_rise)
    if np.quantile(rises[1:], 2 * ENDS[0]) <= RISE:
        yield first, last
        return
    ridge = first + int(_ridges(part.whole[:1])[0][0])
    yield from _split(line, first, ridge)
    yield from _split(line, ridge + 1, last)


def _ridges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(resamples) the point that rises most above the lowest ones on both of its sides, and these two points."""
    before = np.minimum.accumulate(values, axis=1)
    after = np.minimum.accumulate(values[:, ::-1], axis=1)[:, ::-1]
    ridge = (values - np.maximum(before, after)).argmax(axis=1)
    points = np.arange(values.shape[1])
    left = np.where(points <= ridge[:, None], values, np.inf).argmin(axis=1)
    right = np.where(points >= ridge[:, None], values, np.inf).argmin(axis=1)
    return ridge, left, right


def _rise(choose: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """How far the ridge is above the lowest points on both of its sides."""
    ridge, left, right = _ridges(choose)
    return at(measured, ridge) - np.maximum(at(measured, left), at(measured, right))


def _stage(line: Line, first: int, last: int) -> Stage:
    part = line.at_points(np.arange(first, last + 1)).values
    points = first + part.whole.argmin(axis=1)
    low, high = np.quantile(points[1:], ENDS, method="nearest")
    ends = quantile_ends(part.crossed(lowest))
    return Stage(first, last, int(points[0]), (int(low), int(high)), float(part.whole[0].min()), (ends[0], ends[1]))
