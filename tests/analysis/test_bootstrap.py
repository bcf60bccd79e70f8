import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from vlmflow.analysis.bootstrap import resampled, summarise, summarise_cells


def rows(values, images, edge="a"):
    return pl.DataFrame(
        {
            "question_id": [str(i) for i in range(len(values))],
            "image_id": [str(p) for p in images],
            "edge": edge,
            "change": values,
        },
        schema_overrides={"change": pl.Float64},
    )


def test_summaries_hold_mean_and_counts_in_the_order_of_the_rows():
    data = pl.concat([rows([1.0, 2.0, 6.0], [0, 0, 1], "b"), rows([4.0], [0], "a")])
    summary = summarise(data, ["edge"], "change")
    assert summary["edge"].to_list() == ["b", "a"]
    assert summary["mean"].to_list() == [3.0, 4.0]
    assert summary["questions"].to_list() == [3, 1]
    assert summary["images"].to_list() == [2, 1]
    assert summary.row(1, named=True)["low"] == summary.row(1, named=True)["high"] == 4.0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 6)), min_size=2, max_size=40))
def test_the_interval_lies_within_the_range_of_the_data(pairs):
    values, images = zip(*pairs, strict=True)
    row = summarise(rows(values, images), ["edge"], "change").row(0, named=True)
    assert min(values) - 1e-9 <= row["low"] <= row["high"] <= max(values) + 1e-9
    flat = summarise(rows([5.0] * len(values), images), ["edge"], "change").row(0, named=True)
    assert flat["low"] == pytest.approx(5.0)
    assert flat["high"] == pytest.approx(5.0)


def test_the_image_is_the_unit():
    """Asking each question ten times gives no narrower interval."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    once = summarise(rows(values, range(60)), ["edge"], "change").row(0, named=True)
    tenfold = summarise(rows(np.repeat(values, 10), np.repeat(range(60), 10)), ["edge"], "change").row(0, named=True)
    assert tenfold["high"] - tenfold["low"] == pytest.approx(once["high"] - once["low"], rel=1e-9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        effect = rng.normal(size=50)  # shared by the three questions of an image
        values = np.repeat(effect, 3) + rng.normal(size=150)
        row = summarise(rows(values, np.repeat(range(50), 3)), ["edge"], "change").row(0, named=True)
        hits += row["low"] <= 0 <= row["high"]
    assert 0.90 <= hits / 200 <= 0.985


def test_the_same_bytes_from_the_same_rows():
    data = rows(np.random.default_rng(2).normal(size=30), np.arange(30) // 2)
    assert summarise(data, ["edge"], "change").equals(summarise(data, ["edge"], "change"))
    assert not summarise(data, ["edge"], "change").equals(summarise(data, ["edge"], "change", seed=1))


def test_resampling_as_a_product_is_the_bootstrap():
    rng = np.random.default_rng(0)
    totals, counts = rng.normal(size=(40, 2)) * 3 + 1, rng.integers(1, 4, 40).astype(float)
    ours = np.quantile(resampled(totals, counts, 0), [0.025, 0.975], axis=0)
    for place in range(2):
        result = bootstrap(
            (totals[:, place], counts),
            lambda total, count, axis: total.sum(axis) / count.sum(axis),
            paired=True,
            n_resamples=20000,
            method="percentile",
            rng=1,
        ).confidence_interval
        assert ours[0, place] == pytest.approx(result.low, abs=0.06)
        assert ours[1, place] == pytest.approx(result.high, abs=0.06)


def test_maps_are_averaged_cell_by_cell():
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        [
            {"question_id": str(q), "image_id": str(q // 2), "layer": layer, "map": rng.normal(size=6).tolist()}
            for q in range(9)
            for layer in range(2)
        ]
    )
    cells = summarise_cells(rows, ["layer"], "map", columns=3)
    long = rows.with_columns(cell=pl.lit(list(range(6)))).explode("map", "cell")
    expected = summarise(long, ["layer", "cell"], "map")
    assert cells.select("layer", "mean", "low", "high", "questions", "images").equals(
        expected.sort("layer", "cell").drop("cell")
    )
    assert cells["row"].to_list() == [0, 0, 0, 1, 1, 1] * 2
    assert cells["column"].to_list() == [0, 1, 2] * 4
    alone = summarise_cells(rows.filter(pl.col("layer") == 0).drop("layer"), [], "map", columns=3)
    assert alone["mean"].to_list() == cells["mean"].to_list()[:6]
