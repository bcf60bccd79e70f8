"""The redundancy index of edges that are knocked out together."""

import numpy as np
import polars as pl
import pytest

from vlmflow.analysis.bootstrap import image_weights
from vlmflow.probes import KnockoutProbe

PAIR = "image -> last + question -> last"
A, B = PAIR.split(" + ")


def rows_of(effects, images=30, noise=0.1, layers=2):
    """Rows of the table `knockout`; effects: edge → change of the log-probability."""
    generator = np.random.default_rng(0)
    rows = []
    for image in range(images):
        for edge, effect in effects.items():
            for layer in range(layers):
                value = effect[layer] + noise * generator.normal()
                rows.append(
                    {
                        "task": "t",
                        "question_id": f"q{image}",
                        "image_id": f"i{image}",
                        "edge": edge,
                        "window": 1,
                        "layer": layer,
                        "change": value,
                        "margin": value,
                        "log_prob": value,
                        "flips": 0.0,
                        "sub_words": 1,
                    }
                )
    return pl.DataFrame(rows, schema_overrides={"window": pl.Int32, "layer": pl.Int32, "sub_words": pl.Int32})


def index_of(rows):
    means = KnockoutProbe.averaging.average(rows)
    return means.filter(pl.col("quantity") == "redundancy")


@pytest.mark.parametrize(
    ("single", "joint", "index"), [((0, 0), -2, 1), ((-1, -1), -2, 0), ((-2, -2), -2, -1), ((-2, 0), -2, 0)]
)
def test_what_the_index_says_of_two_paths(single, joint, index):
    found = index_of(rows_of({A: [single[0]] * 2, B: [single[1]] * 2, PAIR: [joint] * 2}))
    assert found["edge"].unique().to_list() == [PAIR]
    assert found["layer"].to_list() == [0, 1]
    assert found["mean"].to_list() == pytest.approx([index] * 2, abs=0.1)
    assert (found["low"] <= found["mean"]).all()
    assert (found["mean"] <= found["high"]).all()
    assert (found["questions"] == 30).all()


def test_the_interval_is_that_of_the_ratio():
    rows = rows_of({A: [-1, -1], B: [-0.5, -1], PAIR: [-2, -3]}, noise=0.5)
    found = index_of(rows).filter(pl.col("layer") == 0).row(0, named=True)
    of_layer = rows.filter(pl.col("layer") == 0)
    weights = image_weights([f"i{n}" for n in range(30)])
    totals = {}
    for edge in (A, B, PAIR):
        of_edge = of_layer.filter(pl.col("edge") == edge)
        values = dict(of_edge.select("image_id", "log_prob").iter_rows())
        totals[edge] = weights @ np.array([values[f"i{n}"] for n in range(30)])
    index = 1 - (totals[A] + totals[B]) / totals[PAIR]
    assert found["mean"] == pytest.approx(index[0])
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(index[1:], [0.025, 0.975]).tolist())


def test_a_layer_without_a_joint_effect_has_no_index():
    found = index_of(rows_of({A: [0, -1], B: [0, -1], PAIR: [0, -2]}))
    assert found["layer"].to_list() == [1]


def test_a_group_whose_edges_are_not_measured_alone_has_no_index():
    assert len(index_of(rows_of({A: [-1, -1], PAIR: [-2, -2]}))) == 0


def test_questions_without_the_joint_effect_do_not_count():
    rows = rows_of({A: [-1, -1], B: [-1, -1], PAIR: [-2, -2]}, noise=0)
    alone = rows.filter(pl.col("edge") == A).with_columns(
        question_id=pl.lit("other"), image_id=pl.lit("other"), log_prob=pl.lit(-50.0)
    )
    assert index_of(pl.concat([rows, alone]))["mean"].to_list() == pytest.approx([0, 0])
