"""The redundancy of edges: how much more is lost if they are knocked out together than by each alone."""

import numpy as np
import polars as pl

from vlmflow.edges import AND

from .bootstrap import image_weights, quantile_ends, ratios

REDUNDANCY = "redundancy"
MEASURED_BY = "log_prob"  # effects of independent causes add up in the log-probability
NO_EXTREMES = ("extreme_", "position_")  # columns that begin so are those of an extreme of a line


def redundancy(values: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    """Rows of the summary with the redundancy index of each group of edges: 1 − Σ effects of each edge alone / effect
    of all together, of the log-probability.

    It is 1 if each edge alone is dispensable, since another one carries the same; 0 if the effects add up; and negative
    if the edges are parts of one path, so that each one alone costs what all cost: −1 for two.  A layer whose joint
    effect is not distinguishable from 0 has no row.  The interval is that of the ratio, over resampled images.

    Args:
        values: edge, window, layer, quantity, value, question_id, image_id; a row per question and combination.
        means: the summary's rows of these values.
    """
    effects = values.filter(pl.col("quantity") == MEASURED_BY)
    measured = set(effects["edge"].unique())
    rows = []
    for (edge, window), joint in effects.group_by("edge", "window", maintain_order=True):
        singles = str(edge).split(AND)
        if len(singles) < 2 or not measured.issuperset(singles):
            continue
        alone = effects.filter(pl.col("window") == window, pl.col("edge").is_in(singles)).join(
            joint.select("question_id").unique(), on="question_id", how="semi"
        )
        rows.append(_index(joint, alone).with_columns(edge=pl.lit(edge), window=pl.lit(window, dtype=pl.Int32)))
    if not rows:
        return means.clear()
    found = pl.concat(rows)
    keys = ["edge", "window", "layer"]
    extremes = [pl.lit(None, dtype=pl.Float64).alias(name) for name in means.columns if name.startswith(NO_EXTREMES)]
    return (
        means.filter(pl.col("quantity") == MEASURED_BY)
        .drop("mean", "low", "high")
        .join(found, on=keys, how="inner", maintain_order="left")
        .with_columns(*extremes, quantity=pl.lit(REDUNDANCY))
        .select(means.columns)
    )


def _index(joint: pl.DataFrame, alone: pl.DataFrame) -> pl.DataFrame:
    """layer, mean, low, high of the index of one group in one window."""
    totals = [
        rows.pivot(on="layer", index="image_id", values="value", aggregate_function="sum", maintain_order=True)
        for rows in (joint.sort("layer"), alone.sort("layer"))
    ]
    layers = [name for name in totals[0].columns[1:] if name in totals[1].columns]
    together, single = (each.sort("image_id") for each in totals)
    images = together["image_id"].to_list()
    weights = image_weights(images)
    of_all, of_each = (each.select(layers).fill_null(0).to_numpy() for each in (together, single))
    low, high = quantile_ends(weights @ of_all)
    real = ((low > 0) | (high < 0)) if len(images) > 1 else of_all[0] != 0
    index = 1 - ratios(weights, of_each[:, real], of_all[:, real])
    ends = quantile_ends(index)
    return pl.DataFrame(
        {
            "layer": pl.Series(np.array(layers, dtype=int)[real], dtype=pl.Int32),
            "mean": index[0],
            "low": ends[0],
            "high": ends[1],
        }
    )
