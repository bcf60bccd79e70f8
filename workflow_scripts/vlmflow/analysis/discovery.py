"""Which of many means differ from 0, with the false discovery rate held down."""

import numpy as np
import polars as pl
from scipy.stats import false_discovery_control, norm, t

from .bootstrap import ENDS

RATE = 0.05  # expected share of the discovered means that are 0


def with_discovered(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The rows with a column `discovered`: whether the mean differs from 0 at a false discovery rate of 5 %.

    The rate is held over all rows with the same values of `by` (Benjamini and Hochberg 1995).  A p-value comes from
    Student's t of the mean over its bootstrapped standard error, with one degree of freedom less than there are images,
    since the resamples are too few for values as small as thousands of cells need.

    Args:
        rows: of a summary: mean, low, high, images; a mean of one image is never discovered.
        by: columns; each of their combinations is a family of tests.
    """
    return pl.concat(_family(family) for family in rows.partition_by(by, maintain_order=True)) if len(rows) else rows


def _family(rows: pl.DataFrame) -> pl.DataFrame:
    mean, width = rows["mean"].to_numpy(), (rows["high"] - rows["low"]).to_numpy()
    images = rows["images"].to_numpy()
    error = width / (norm.ppf(ENDS[1]) - norm.ppf(ENDS[0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t.sf(np.where(mean == 0, 0, np.abs(mean) / error), np.maximum(images - 1, 1))
    p = np.where(images > 1, p, 1.0)
    return rows.with_columns(discovered=pl.Series(false_discovery_control(p) <= RATE))
