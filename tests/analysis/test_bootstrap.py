import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import binomtest, bootstrap

from vlmflow.analysis.bootstrap import (
    Resampled,
    image_weights,
    quantile_ends,
    summarise,
    summarise_cells,
    with_rare_cases,
)


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
    ours = quantile_ends(Resampled.of(totals, counts, [str(image) for image in range(40)]).whole)
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
    expected = summarise(long, ["layer", "cell"], "map", along="cell").sort("layer", "cell").drop("cell")
    assert_frame_equal(cells.select(expected.columns), expected)
    assert cells["row"].to_list() == [0, 0, 0, 1, 1, 1] * 2
    assert cells["column"].to_list() == [0, 1, 2] * 4
    alone = summarise_cells(rows.filter(pl.col("layer") == 0).drop("layer"), [], "map", columns=3)
    assert alone["mean"].to_list() == cells["mean"].to_list()[:6]


def curves(rng, bump, questions=60, noise=6.0):
    """Rows of a line of ten layers whose mean is `bump` at layer 4 and 0 elsewhere."""
    layers = np.tile(np.arange(10), questions)
    values = rng.normal(0, noise, len(layers)) + np.where(layers == 4, bump, 0)
    frame = rows(values, np.repeat(np.arange(questions), 10))
    return frame.with_columns(layer=pl.Series(layers, dtype=pl.Int32))


def test_an_extreme_has_its_own_interval_and_that_of_its_position():
    data = curves(np.random.default_rng(0), -9.0)
    summary = summarise(data, ["edge", "layer"], "change", along="layer")
    known = summary.filter(pl.col("extreme_low").is_not_null())
    assert len(known) == 2  # the lowest mean and the highest one
    lowest = known.sort("mean").row(0, named=True)
    assert lowest["layer"] == lowest["position_low"] == lowest["position_high"] == 4
    # If the position is sure, so is the layer, and the interval is that of this layer.
    assert lowest["extreme_low"] == pytest.approx(lowest["low"], abs=0.2)
    assert lowest["extreme_high"] == pytest.approx(lowest["high"], abs=0.2)
    highest = known.sort("mean").row(1, named=True)
    assert highest["position_high"] - highest["position_low"] > 3
    assert summarise(data, ["edge", "layer"], "change")["extreme_low"].null_count() == 10


def test_the_interval_of_an_extreme_among_equals_is_nearer_to_the_truth_than_that_of_its_layer():
    """If all means are 0, the lowest of ten is below 0, and its pointwise interval excludes 0 too often."""
    rng, pointwise, found_anew = np.random.default_rng(3), 0, 0
    for _ in range(100):
        summary = summarise(curves(rng, 0.0), ["edge", "layer"], "change", along="layer")
        lowest = summary.sort("mean").row(0, named=True)
        pointwise += lowest["high"] >= 0
        found_anew += lowest["extreme_high"] >= 0
    assert pointwise <= 85
    assert found_anew >= 94


def test_the_extreme_of_several_lines_is_that_of_all_their_points_in_one():
    """As of heads × layers; the same points in one line are the oracle."""
    random = np.random.default_rng(0)
    heads = [
        rows(random.normal(size=30) - (layer == head), range(30)).with_columns(head=head, layer=layer)
        for head in range(3)
        for layer in range(4)
    ]
    data = pl.concat(heads).with_columns(point=4 * pl.col("head") + pl.col("layer"))
    found = summarise(data, ["edge", "head", "layer"], "change", along="layer", across=["head"])
    one_line = summarise(data, ["edge", "point"], "change", along="point")
    extremes = ["mean", "extreme_low", "extreme_high"]
    assert_frame_equal(found.select(extremes), one_line.select(extremes))
    assert len(found.drop_nulls("extreme_low")) == 2
    apart = summarise(data, ["edge", "head", "layer"], "change", along="layer")
    assert len(apart.drop_nulls("extreme_low")) == 6
    assert set(found["position_low"].drop_nulls()) <= set(range(4)), "the layer, not the point"


def test_weights_of_an_image_are_the_same_in_every_sample():
    few, many = image_weights(["a", "b"]), image_weights(["c", "b", "a"])
    assert (few[:, 0] == many[:, 2]).all()
    assert (few[:, 1] == many[:, 1]).all()
    assert (few[0] == 1).all()
    assert few[1:].mean() == pytest.approx(1, abs=0.05)
    assert not (image_weights(["a"], seed=1) == image_weights(["a"])).all()


def test_a_single_image_has_no_halves_and_no_interval_of_an_extreme():
    data = curves(np.random.default_rng(0), -9.0, questions=1)
    assert summarise(data, ["edge", "layer"], "change", along="layer")["extreme_low"].null_count() == 10


@pytest.mark.parametrize("whole", [1, 100])
def test_a_share_on_which_all_images_agree_has_wilsons_interval(whole):
    """Not the width 0 of resampling, which would be certainty; two questions about an image count as one image."""
    lines = [
        rows([0] * 12, [*range(6)] * 2, "none"),
        rows([0, whole] * 3, range(6), "half"),
        rows([whole] * 15, range(15), "all"),
    ]
    resampled = summarise(pl.concat(lines), ["edge"], "change")
    found = with_rare_cases(resampled, whole)
    for row, (count, images) in zip((0, 2), ((0, 6), (15, 15)), strict=True):
        interval = binomtest(count, images).proportion_ci(0.95, method="wilson")
        assert found.row(row, named=True)["low"] == pytest.approx(whole * interval.low, abs=1e-12)
        assert found.row(row, named=True)["high"] == pytest.approx(whole * interval.high)
    assert_frame_equal(found[1], resampled[1])
    assert_frame_equal(with_rare_cases(resampled, whole, pl.col("edge") == "half"), resampled)


def test_the_extreme_of_a_line_of_zeros_has_this_interval_too():
    """One that is 0 in one layer alone keeps the interval of an extreme that is found anew in each resample."""
    flat = pl.concat([rows([0.0] * 20, range(20)).with_columns(layer=layer) for layer in range(3)])
    line = with_rare_cases(summarise(flat, ["edge", "layer"], "change", along="layer"), 100)
    (extreme,) = line.drop_nulls("extreme_low").to_dicts()
    assert (extreme["extreme_low"], extreme["extreme_high"]) == (0, line["high"][0])
    assert line["high"][0] > 10
    bent = flat.with_columns(
        change=pl.when(layer=1).then(pl.col("question_id").cast(pl.Int32) % 2 * 100.0).otherwise(0)
    )
    resampled = summarise(bent, ["edge", "layer"], "change", along="layer")
    found = with_rare_cases(resampled, 100)
    assert found["extreme_high"][1] == resampled["extreme_high"][1] > line["high"][0]
