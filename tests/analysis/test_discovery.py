"""Discoveries among many means: what is there is found, and few others are."""

import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import summarise
from vlmflow.analysis.discovery import with_discovered


def summary(rng, shifts, images=40):
    """The means of one cell per shift, each over as many images, with noise of a standard deviation of 1."""
    cells = len(shifts)
    return summarise(
        pl.DataFrame(
            {
                "question_id": np.repeat(np.arange(images), cells).astype(str),
                "image_id": np.repeat(np.arange(images), cells).astype(str),
                "window": 1,
                "cell": np.tile(np.arange(cells), images),
                "change": (rng.normal(size=(images, cells)) + shifts).ravel(),
            }
        ),
        ["window", "cell"],
        "change",
    )


def test_among_cells_without_an_effect_a_discovery_is_rare():
    """Pointwise intervals would mark one cell in twenty; with the correction, one family in twenty has any mark."""
    rng, marked, pointwise = np.random.default_rng(0), 0, 0
    for _ in range(100):
        found = with_discovered(summary(rng, np.zeros(50)), ["window"])
        marked += found["discovered"].any()
        pointwise += ((found["low"] > 0) | (found["high"] < 0)).sum()
    assert marked <= 12
    assert pointwise > 150


def test_effects_are_found_and_at_most_a_twentieth_of_the_marks_is_wrong():
    rng, right, wrong = np.random.default_rng(1), 0, 0
    for _ in range(50):
        found = with_discovered(summary(rng, np.repeat([0.0, 1.0], 25)), ["window"])["discovered"].to_numpy()
        wrong += found[:25].sum()
        right += found[25:].sum()
    assert right >= 0.95 * 50 * 25
    assert wrong / (right + wrong) < 0.05


def test_exact_means_and_single_images():
    exact = summary(np.random.default_rng(0), np.zeros(3)).with_columns(
        mean=pl.Series([0.0, -2.0, 5.0]), low=pl.Series([0.0, -2.0, 5.0]), high=pl.Series([0.0, -2.0, 5.0])
    )
    assert with_discovered(exact, ["window"])["discovered"].to_list() == [False, True, True]
    alone = exact.with_columns(images=pl.lit(1, dtype=pl.Int32))
    assert with_discovered(alone, ["window"])["discovered"].to_list() == [False] * 3
