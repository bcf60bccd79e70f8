"""Attention sinks of the image encoder: the patches whose features have a high norm; [flow] appendix E."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def sinks(norms: Sequence[float | None], threshold: float) -> list[int]:
    """The numbers, among an image's tokens, of those whose feature has a norm above the threshold."""
    return [number for number, norm in enumerate(norms) if norm is not None and norm > threshold]


def threshold_of(norms: pl.Series, quantile: float) -> float:
    """The norm below which this share of all patches is; each entry of the series has the norms of one image."""
    return float(np.quantile(norms.explode().drop_nulls().to_numpy(), quantile))


def sinks_of(measured: pl.DataFrame, above: float | None, quantile: float | None) -> pl.DataFrame:
    """The sinks of each question; the total number is printed.

    Args:
        measured: rows of the table `norms`, of one model and task.
        above: the threshold; None if `quantile` gives it.
        quantile: the threshold as a quantile of all norms.

    Returns:
        columns question_id, sinks (their numbers among the image's tokens).
    """
    threshold = above
    if threshold is None and len(measured):
        threshold = threshold_of(measured["norms"], float(quantile or 0))
    found = [sinks(norms, float(threshold or 0)) for norms in measured["norms"]]
    patches = sum(norms.drop_nulls().len() for norms in measured["norms"])
    print(f"{sum(map(len, found))} of {patches} patches have a norm above {threshold}")
    return measured.select("question_id").with_columns(sinks=pl.Series(found, dtype=pl.List(pl.Int32)))
