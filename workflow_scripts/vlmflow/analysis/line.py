"""A line: the means of a probe along its x axis, in the sample and in every resample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from .bootstrap import Resampled, totals_of_maps


class NotDefinedError(ValueError):
    """The statistic is not defined on these lines; the message says why."""


@dataclass(frozen=True)
class Line:
    """The means of one line of one model, of one task or over several tasks.

    Attributes:
        values: the mean at each point.
        x: (points) position on the probe's x axis, such as the layer.
        depth: (points) share of the model's layers that come before; not a number where x is no layer.
        questions, images: behind the means; for several tasks, their sums.
    """

    values: Resampled
    x: np.ndarray
    depth: np.ndarray
    questions: int
    images: int

    def at_points(self, chosen: np.ndarray) -> "Line":
        """The line at some of its points; `chosen` is a mask or has their numbers."""
        values = Resampled(self.values.whole[:, chosen], self.values.parts[:, :, chosen])
        return replace(self, values=values, x=self.x[chosen], depth=self.depth[chosen])

    def within(self, band: tuple[float, float] | None) -> "Line":
        """The points in a band of depths, without its upper end unless this is the last layer."""
        if band is None:
            return self
        low, high = band
        inside = (self.depth >= low - 1e-9) & ((self.depth < high - 1e-9) | (high >= 1))
        return self.at_points(inside)

    def half(self, number: int) -> "Line":
        """The line over one half of the images, 0 or 1."""
        part = self.values.parts[number]
        return replace(self, values=Resampled(part, np.stack([part, part])))

    def from_end(self) -> "Line":
        """The line less its own value at the last point."""
        whole, parts = self.values.whole, self.values.parts
        return replace(self, values=Resampled(whole - whole[:, -1:], parts - parts[:, :, -1:]))

    def combined(self, other: "Line", combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> "Line":
        """Two lines combined point by point; the other one is interpolated at this one's depths if they differ."""
        if not np.array_equal(self.x, other.x):
            other = other.interpolated(self)
        return replace(self, values=self.values.combined(other.values, combine))

    def interpolated(self, target: "Line") -> "Line":
        """The line at the points of another one, linearly between its own along depth, or along x where it has none."""
        own, wanted = (self.x, target.x) if np.isnan(self.depth).any() else (self.depth, target.depth)
        right = np.clip(np.searchsorted(own, wanted), 1, len(own) - 1)
        share = np.clip((wanted - own[right - 1]) / (own[right] - own[right - 1]), 0, 1)

        def between(values: np.ndarray) -> np.ndarray:
            return values[..., right - 1] * (1 - share) + values[..., right] * share

        values = Resampled(between(self.values.whole), between(self.values.parts))
        return replace(self, values=values, x=target.x, depth=target.depth)


def line_of(
    rows: pl.DataFrame, along: str | None, position: str | None, depth: Callable[[np.ndarray], np.ndarray]
) -> Line:
    """The line of rows of single questions, at the points that all of the questions have.

    Args:
        rows: of one model, task and line: image_id, question_id, value, and the two columns.
        along: the column that tells points apart; None if there is one point.
        position: the column with their positions.
        depth: from positions to depths.

    Raises:
        NotDefinedError: there is no such point.
    """
    questions = rows["question_id"].n_unique()
    rows = rows.with_columns(point=pl.lit(0) if along is None else pl.col(along))
    rows = rows.filter(pl.col("question_id").n_unique().over("point") == questions)
    if len(rows) == 0:
        raise NotDefinedError(f"its {questions} questions have no {along} in common")
    cells = rows.group_by("image_id", "point").agg(total=pl.col("value").sum(), count=pl.len())
    images = cells["image_id"].unique().sort()
    places = rows.group_by("point").agg(x=pl.col(position or "point").mean()).sort("x")
    rank = pl.Series(cells["point"].replace_strict(places["point"], range(len(places)), return_dtype=pl.Int64))
    place = np.searchsorted(images, cells["image_id"]), rank.to_numpy()
    totals, counts = np.zeros((2, len(images), len(places)))
    totals[place], counts[place] = cells["total"], cells["count"]
    x = places["x"].to_numpy().astype(float)
    return Line(Resampled.of(totals, counts[:, 0], images.to_list()), x, depth(x), questions, len(images))


def map_line(rows: pl.DataFrame, value: str) -> Line:
    """As `line_of`, for a column of maps: a point per cell, without a depth."""
    images, totals, counts = totals_of_maps(rows, value)
    x = np.arange(totals.shape[1], dtype=float)
    values = Resampled.of(totals, counts, images)
    return Line(values, x, np.full(len(x), np.nan), rows["question_id"].n_unique(), len(images))


def mean_of(lines: Sequence[Line]) -> Line:
    """The mean of the lines of several tasks, each with the same weight, at the points that all of them have.

    Lines of one point are averaged wherever it is, such as numbers above a threshold that differs between tasks.
    """
    if any(len(line.x) > 1 for line in lines):
        common = set(lines[0].x).intersection(*(line.x for line in lines))
        lines = [line.at_points(np.isin(line.x, list(common))) for line in lines]
    first = lines[0]
    return Line(
        Resampled(
            np.mean([line.values.whole for line in lines], axis=0),
            np.mean([line.values.parts for line in lines], axis=0),
        ),
        first.x,
        first.depth,
        sum(line.questions for line in lines),
        sum(line.images for line in lines),
    )
