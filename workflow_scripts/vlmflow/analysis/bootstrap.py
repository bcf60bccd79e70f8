"""Means with intervals: the resampled unit is the image, since questions about one image are not independent.

An image's weights in all resamples depend on its id alone, so that they are the same for every task, edge, layer, model
and study: differences between any two means are paired.  The weights are exponentially distributed, which is the
Bayesian bootstrap (Rubin 1981); unlike counts of draws, they leave no resample without an image.

The lowest of several noisy means is lower than the lowest true mean, and resampling adds to this.  An extreme is
therefore found on one half of the images and measured on the other, in both directions, in every resample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
import polars as pl

RESAMPLES = 2000
CONFIDENCE = 0.95
ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
MEANS = ("mean", "low", "high", "extreme_low", "extreme_high", "position_low", "position_high", "questions", "images")


def _digest(image: str, seed: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {image}".encode(), digest_size=16).digest())


@lru_cache(maxsize=50_000)
def _weights_of_image(image: str, seed: int, resamples: int) -> np.ndarray:
    return np.random.default_rng(_digest(image, seed)).exponential(size=resamples).astype(np.float32)


def image_weights(images: Sequence[str], seed: int = 0) -> np.ndarray:
    """(1 + resamples, images) the weight of each image: 1 in the sample itself, and random in each resample."""
    return _weights(tuple(images), seed, RESAMPLES)


@lru_cache(maxsize=2)  # the lines of a table mostly have the same images
def _weights(images: tuple[str, ...], seed: int, resamples: int) -> np.ndarray:
    drawn = np.stack([_weights_of_image(image, seed, resamples) for image in images], axis=1)
    return np.concatenate([np.ones((1, len(images))), drawn])


def halves(images: Sequence[str], seed: int = 0) -> np.ndarray:
    """(2, images) whether an image is in the first half, and whether it is in the second one; by its id."""
    first = np.array([_digest(image, seed) % 2 == 0 for image in images])
    return np.stack([first, ~first])


@dataclass(frozen=True)
class Resampled:
    """Means of several points, such as the layers of a line, in the sample and in all resamples.

    Attributes:
        whole: (1 + resamples, points) over all images; the sample itself first.
        parts: (2, 1 + resamples, points) over each half of the images; not a number for a half without images.
    """

    whole: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, totals: np.ndarray, counts: np.ndarray, images: Sequence[str], seed: int = 0) -> "Resampled":
        """The ratios Σ totals / Σ counts over weighted images.

        Args:
            totals: (images, points) sum over an image's questions.
            counts: (images) or (images, points) number of its questions.
            images: the ids of the images.
            seed: of the weights.
        """
        weights = image_weights(images, seed)
        with np.errstate(invalid="ignore"):
            parts = [ratios(weights[:, half], totals[half], counts[half]) for half in halves(images, seed)]
        return cls(ratios(weights, totals, counts), np.stack(parts))

    def combined(self, other: "Resampled", combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> "Resampled":
        """The means of two lines combined point by point, such as their difference."""
        return Resampled(combine(self.whole, other.whole), combine(self.parts, other.parts))

    def crossed(self, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """(1 + resamples) a statistic at points that are chosen on one half of the images and measured on the other.

        Args:
            measure: takes two arrays (1 + resamples, points); points are chosen on the first, and measured on the
                second.
        """
        one, other = self.parts
        return (measure(one, other) + measure(other, one)) / 2


def ratios(weights: np.ndarray, totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(resamples, points) Σ totals / Σ counts over images, from weights (resamples, images), totals (images, points),
    and counts (images) or (images, points)."""
    below = weights @ counts.astype(float)
    return (weights @ totals.astype(float)) / (below[:, None] if below.ndim == 1 else below)


def quantile_ends(values: np.ndarray) -> np.ndarray:
    """(2, …) ends of the percentile interval; values are (1 + resamples, …), the sample first."""
    return np.quantile(values[1:], ENDS, axis=0)


def at(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(1 + resamples) the values at one point of each resample."""
    return np.take_along_axis(values, points[:, None], axis=1)[:, 0]


def lowest(choose: np.ndarray, measure: np.ndarray) -> np.ndarray:
    """See `Resampled.crossed`: the value at the lowest point."""
    return at(measure, choose.argmin(axis=1))


def highest(choose: np.ndarray, measure: np.ndarray) -> np.ndarray:
    """See `Resampled.crossed`: the value at the highest point."""
    return at(measure, choose.argmax(axis=1))


def summarise(
    rows: pl.DataFrame,
    by: list[str],
    value: str,
    *,
    along: str | None = None,
    across: Sequence[str] = (),
    seed: int = 0,
) -> pl.DataFrame:
    """Mean of `value` for every combination of `by`, with a 95 % bootstrap interval over images.

    Args:
        rows: one row per question and combination, with the columns image_id and question_id.
        by: columns that make a combination, in the order of the result.
        value: the column that is averaged.
        along: the column of `by` along which a line is drawn, such as the layer; it has numbers.
        across: columns of `by` whose lines are searched together for an extreme, such as the heads of each layer.
        seed: of the weights.

    Returns:
        columns of `by`, mean, low, high, extreme_low, extreme_high, position_low, position_high, questions, images; one
        row per combination, in order of first appearance.  The interval is the percentile interval of the ratio
        Σ values / Σ questions over resampled images; for a single image, both ends are the mean itself.  At the lowest
        and the highest mean of a line, `extreme_…` and `position_…` are the intervals of this extreme and of its
        position, both found anew in each resample; elsewhere, and for a half without images, they are null.
    """
    cells = rows.group_by([*by, "image_id"], maintain_order=True).agg(total=pl.col(value).sum(), count=pl.len())
    order = cells.select(by).unique(maintain_order=True).with_row_index("combination")
    lines = [name for name in by if name not in (along, *across)] if along else []
    cells = cells.join(order, on=by, nulls_equal=True, maintain_order="left")
    parts = cells.partition_by(lines, maintain_order=True) if lines else [cells]
    means = pl.concat(_line(part, along, seed) for part in parts) if len(cells) else _line_frame([], np.zeros((0, 9)))
    return order.join(means, on="combination", maintain_order="left").drop("combination")


def with_rare_cases(means: pl.DataFrame, whole: float, shares: pl.Expr | None = None) -> pl.DataFrame:
    """The means of `summarise`, with Wilson's interval where a share is 0 or the whole.

    Resampling has no spread there, although the next image may be the first of its kind.  Each image counts once.

    Args:
        means: of which some are shares.
        whole: the share of all, 1 or 100.
        shares: which rows are shares; by default all.
    """
    normal = NormalDist().inv_cdf(ENDS[1]) ** 2
    rare = whole * normal / (pl.col("images") + normal)
    of_all = pl.col("mean") == whole
    agreed = (of_all | (pl.col("mean") == 0)) & (pl.lit(True) if shares is None else shares)
    low, high = pl.when(of_all).then(whole - rare).otherwise(0.0), pl.when(of_all).then(whole).otherwise(rare)
    flat = agreed & (pl.col("extreme_low") == pl.col("extreme_high"))
    ends = {"low": (agreed, low), "high": (agreed, high), "extreme_low": (flat, low), "extreme_high": (flat, high)}
    return means.with_columns(
        pl.when(which).then(end).otherwise(pl.col(name)).cast(pl.Float64).alias(name)
        for name, (which, end) in ends.items()
    )


def _line(cells: pl.DataFrame, along: str | None, seed: int) -> pl.DataFrame:
    """The means of one line; `cells` has a row per combination and image."""
    images, combinations = (cells[name].unique().sort() for name in ("image_id", "combination"))
    place = np.searchsorted(images, cells["image_id"]), np.searchsorted(combinations, cells["combination"])
    totals, counts = np.zeros((2, len(images), len(combinations)))
    totals[place], counts[place] = cells["total"], cells["count"]
    positions = None
    if along is not None:
        positions = cells.group_by("combination").agg(pl.col(along).first()).sort("combination")[along].to_numpy()
    same = (counts == counts[:, :1]).all()
    values = Resampled.of(totals, counts[:, 0] if same else counts, images.to_list(), seed)
    return _line_frame(combinations.to_list(), _columns(values, counts, positions))


def _columns(values: Resampled, counts: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
    """(combinations, 9) the columns `MEANS` of one line.

    Args:
        values: of its combinations.
        counts: (images, combinations) questions.
        positions: (combinations) on the x axis; None if the combinations make no line.
    """
    whole = values.whole
    extremes = np.full((4, whole.shape[1]), np.nan)
    if positions is not None and whole.shape[1] > 1 and np.isfinite(values.parts).all():
        for extreme, find in ((highest, np.argmax), (lowest, np.argmin)):
            found = find(whole, axis=1)
            there = np.quantile(positions[found[1:]].astype(float), ENDS, method="nearest")
            extremes[:, found[0]] = *quantile_ends(values.crossed(extreme)), *there
    sizes = counts.sum(axis=0), (counts > 0).sum(axis=0)
    return np.column_stack([whole[0], *quantile_ends(whole), *extremes, *sizes])


def _line_frame(combinations: list[int], columns: np.ndarray) -> pl.DataFrame:
    numbers = {name: pl.Series(columns[:, index], dtype=pl.Float64) for index, name in enumerate(MEANS)}
    frame = pl.DataFrame({"combination": pl.Series(combinations, dtype=pl.UInt32), **numbers})
    return frame.with_columns(pl.col("questions", "images").cast(pl.Int32), pl.col(MEANS[3:7]).fill_nan(None))


def totals_of_maps(rows: pl.DataFrame, value: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(ids of the images, (images, cells) sums of their maps, (images) number of their questions).

    Args:
        rows: one row per question; all maps have the same number of cells.
        value: the column of maps, row by row.
    """
    maps = np.array(rows[value].to_list(), dtype=float)
    images = rows["image_id"].unique().sort()
    place = np.searchsorted(images, rows["image_id"])
    totals = np.zeros((len(images), maps.shape[1]))
    np.add.at(totals, place, maps)
    return images.to_list(), totals, np.bincount(place).astype(float)


def summarise_cells(rows: pl.DataFrame, by: list[str], value: str, columns: int, seed: int = 0) -> pl.DataFrame:
    """As `summarise`, for a column of maps (lists): one row per combination and cell, with its `row` and `column`.

    Args:
        rows: as for `summarise`; in a combination, all maps have the same number of cells.
        by: columns that make a combination; its map is a line whose extremes are found among its cells.
        value: the column of maps, row by row.
        columns: number of columns of the maps.
        seed: of the weights.
    """
    parts = []
    for group in rows.partition_by(by, maintain_order=True) if by else [rows]:
        images, totals, counts = totals_of_maps(group, value)
        index = np.arange(totals.shape[1])
        again = np.broadcast_to(counts[:, None], totals.shape)
        values = Resampled.of(totals, counts, images, seed)
        means = _line_frame(index.tolist(), _columns(values, again, index))
        cells = {"row": index // columns, "column": index % columns}
        integers = dict.fromkeys(cells, pl.Int32)
        names = [pl.lit(group[name][0]).cast(group[name].dtype).alias(name) for name in by]
        parts.append(pl.DataFrame(cells, schema_overrides=integers).hstack(means).with_columns(names))
    return pl.concat(parts).drop("combination")
