"""Stages of a flow: planted ones are found where they are, and noise has none."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmflow.analysis.line import line_of
from vlmflow.analysis.stages import LEAST, find_stages, whole_line

LAYERS = 24


def line(curve, spread=15.0, images=120, seed=0):
    """The line of questions on as many images: a curve, and for each image an error that neighbouring layers share."""
    draw = np.random.default_rng(seed)
    errors = draw.normal(0, spread, (images, len(curve) + 2))
    smooth = (errors[:, :-2] + errors[:, 1:-1] + errors[:, 2:]) / 3
    values = np.asarray(curve) + smooth
    rows = pl.DataFrame(
        {
            "image_id": np.repeat([f"{seed}-{number}" for number in range(images)], len(curve)),
            "question_id": np.repeat([str(number) for number in range(images)], len(curve)),
            "layer": np.tile(np.arange(len(curve)), images),
            "value": values.flatten(),
        }
    )
    return line_of(rows, "layer", "layer", lambda x: x / len(curve))


def dips(*places, depth=-30.0, width=1.5):
    layers = np.arange(LAYERS)
    return depth * sum(np.exp(-(((layers - place) / width) ** 2)) for place in places)


@pytest.mark.parametrize("places", [(5,), (4, 14), (3, 10, 18)])
def test_planted_stages_are_found_at_their_places(places):
    (found,) = find_stages({"image -> question": line(dips(*places))}).values()
    assert len(found) == len(places)
    for stage, place in zip(found, places, strict=True):
        assert stage.first <= place <= stage.last
        assert stage.place[0] <= place <= stage.place[1]
        assert stage.interval[0] - 2 < -30 < stage.interval[1] + 2
        assert stage.interval[0] <= stage.effect <= stage.interval[1] + 3


def test_two_stages_that_run_into_each_other_are_two_only_if_the_line_rises_between_them():
    layers = np.arange(LAYERS)
    shoulder = np.where((layers > 3) & (layers < 14), -30.0, 0.0)
    (one,) = find_stages({"e": line(shoulder)}).values()
    assert len(one) == 1
    with_ridge = shoulder + np.where((layers == 8) | (layers == 9), 18.0, 0.0)
    (two,) = find_stages({"e": line(with_ridge)}).values()
    assert len(two) == 2
    assert two[0].last in (8, 9)


def test_noise_has_no_stage():
    """At a false discovery rate of 5 %, one in twenty studies without any flow may have a stage; 30 are drawn.

    Of 150 draws, 3 had one.
    """
    wrong = 0
    for seed in range(1000, 1030):
        lines = {str(edge): line(np.full(LAYERS, LEAST), seed=100 * seed + edge) for edge in range(3)}
        wrong += any(find_stages(lines).values())
    assert wrong <= 4  # P(more than 4 of 30 at 5 %) is 2 %


def test_an_increase_is_no_stage():
    assert find_stages({"e": line(-dips(8))}) == {"e": []}


def test_without_a_stage_the_lowest_mean_has_its_interval():
    flat = whole_line(line(np.zeros(LAYERS)))
    assert flat.interval[0] < 0 < flat.interval[1] + 2
    assert flat.effect <= 0


def test_no_line_has_no_stage():
    assert find_stages({}) == {}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-60, 20), min_size=1, max_size=30), st.integers(0, 5))
def test_stages_are_disjoint_runs_in_order_that_hold_their_lowest_mean(curve, seed):
    drawn = line(curve, spread=2.0, images=30, seed=seed)
    (stages,) = find_stages({"e": drawn}).values()
    mean = drawn.values.whole[0]
    ends = [-1]
    for stage in stages:
        assert ends[-1] < stage.first <= stage.point <= stage.last < len(curve)
        assert stage.place[0] <= stage.place[1]
        assert stage.first <= stage.place[0] <= stage.place[1] <= stage.last
        assert stage.effect == pytest.approx(mean[stage.first : stage.last + 1].min())
        assert (mean[stage.first : stage.last + 1] < LEAST).all()
        ends.append(stage.last)
