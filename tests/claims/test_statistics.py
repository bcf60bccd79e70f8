"""Statistics of claims: on lines whose shape is known, and against plain computations of single resamples."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import pearsonr, spearmanr

from vlmflow.analysis.bootstrap import Resampled
from vlmflow.analysis.line import Line, mean_of
from vlmflow.claims.declared import NEEDED, Measure, Statistic
from vlmflow.claims.margins import MARGINS
from vlmflow.claims.percentages import with_rare_events
from vlmflow.claims.statistics import JOINT, OF_LINE, OF_LINE_AND_KEYS, OF_TWO_LINES, NotDefinedError

LAYERS = 20
KEYS = {
    "at": 0.5,
    "part": (0.4, 0.6),
    "drops": ((0, 0.2), (0.2, 0.41)),
    "share": 0.1,
    "phase": 1,
    "against": {},
    "jointly": {"pair": ["a"]},
}


def line(values, x=None, depth=None):
    """A line with these values in the sample, in both halves and in every one of five resamples."""
    values = np.asarray(values, dtype=float)
    whole = np.tile(values, (6, 1))
    x = np.arange(len(values), dtype=float) if x is None else np.asarray(x, dtype=float)
    return Line(Resampled(whole, np.stack([whole, whole])), x, x / len(values) if depth is None else depth, 10, 10)


def measure(statistic, **keys):
    needed = {NEEDED[statistic]: KEYS[NEEDED[statistic]]} if statistic in NEEDED else {}
    where = {"pair": "a"} if statistic in JOINT else {}
    if statistic in ("phase slope", "phase end"):
        needed["phase"] = 1
    return Measure(statistic=statistic, where=where, **(needed | keys))


def of(statistic, values, other=None, **keys):
    """The statistic of a line; it is the same in every resample."""
    asked = measure(statistic, **keys)
    if statistic in OF_LINE:
        found = OF_LINE[statistic](line(values))
    elif statistic in OF_LINE_AND_KEYS:
        found = OF_LINE_AND_KEYS[statistic](line(values), asked)
    elif statistic in MARGINS:
        points = line(values) if other is None else line(values).combined(line(other), np.subtract)
        find = MARGINS[statistic](points, asked)
        found = find(points.values.whole, points.values.whole)
        np.testing.assert_array_equal(found, points.values.crossed(find))
    else:
        found = OF_TWO_LINES[statistic](line(values), line(other))
    assert found.shape == (6,)
    assert len(set(found.tolist())) == 1
    return found[0]


BUMP = np.exp(-0.5 * ((np.arange(LAYERS) - 11) / 2) ** 2)
TWO_DROPS = -np.exp(-0.5 * ((np.arange(LAYERS) - 1) / 1.0) ** 2) - 0.5 * np.exp(
    -0.5 * ((np.arange(LAYERS) - 6) / 1.0) ** 2
)


@pytest.mark.parametrize(
    ("statistic", "values", "expected", "keys"),
    [
        ("mean", [1, 2, 6], 3, {}),
        ("share", [40.0], 40, {}),
        ("value", BUMP, BUMP[10], {"at": 0.5}),
        ("value", BUMP, BUMP[-1], {"at": 1}),
        ("lowest", -BUMP, -1, {}),
        ("highest", BUMP, 1, {}),
        ("minimum", -BUMP, -1, {}),
        ("maximum", BUMP, 1, {}),
        ("largest", -BUMP, 1, {}),
        ("onset", [9, 0, 0, 0, 1, 5, 6, 7], 5 / 8, {}),
        ("onset", [0, 0, 0, 0, 5, 6, 7, 0], 1, {}),
        ("largest rise between drops", TWO_DROPS, max(TWO_DROPS[2:6]) - TWO_DROPS[6], {}),
        ("depth of lowest", -BUMP, 11 / 20, {}),
        ("depth of highest", BUMP, 11 / 20, {}),
        ("share of loss", [0, -1, 5, -3], 0.75, {"part": (0.5, 1)}),
        ("depth of half rise", [0, 0, 1, 9, 10], 3 / 5, {}),
        ("depth of half rise", [5, 5, 6, 14, 15], 3 / 5, {}),
        ("begin of drop", -BUMP, 9 / 20, {}),
        ("end of drop", -BUMP, 13 / 20, {}),
        ("rise between drops", TWO_DROPS, max(TWO_DROPS[2:6]) - TWO_DROPS[6], {}),
        ("rise between drops", -BUMP, 0, {"drops": ((0, 0.5), (0.5, 0.55))}),
        ("valley", [0, 4, 1, 5, 2], 3 / 5, {}),
        ("valley", [0, 1, 2, 3], 0, {}),
        ("depth of steepest rise", [0, 0, 0, 0, 4, 4, 4, 4], 3.5 / 8, {}),
        ("steepness", [0, 0, 0, 0, 4, 4, 4, 4], 7, {}),
        ("steepness", np.arange(9.0), 1, {}),
        ("trend", [1, 2, 3, 9], 1, {}),
        ("strongest share", [1] * 9 + [11], 55, {"share": 0.1}),
        ("strongest excess", [1] * 9 + [11], 7, {"share": 0.1}),
        ("knee found", np.arange(8.0)[::-1], 0, {}),
    ],
)
def test_a_statistic_of_one_line(statistic, values, expected, keys):
    assert of(statistic, values, **keys) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("statistic", "values", "other", "expected"),
    [
        ("difference at peak", BUMP, np.full(LAYERS, 0.25), 0.75),
        ("largest difference", [1, 2, 3], [1, 0, 4], 2),
        ("correlation", [1, 2, 3], [2, 4, 6], 1),
        ("correlation", [1, 2, 3], [3, 2, 1], -1),
        ("overlap", -BUMP, -np.roll(BUMP, 1), 4 / 5),
        ("overlap", -BUMP, -np.roll(BUMP, 8), 0),
    ],
)
def test_a_statistic_of_two_lines(statistic, values, other, expected):
    assert of(statistic, values, other) == pytest.approx(expected)


def random_line(seed, points=12, resamples=7):
    rng = np.random.default_rng(seed)
    whole, parts = rng.normal(size=(resamples, points)), rng.normal(size=(2, resamples, points))
    return Line(Resampled(whole, parts), np.arange(points, dtype=float), np.arange(points) / points, 30, 20)


@given(st.integers(0, 10**6))
def test_extremes_are_chosen_on_one_half_and_measured_on_the_other(seed):
    each = random_line(seed)
    found = OF_LINE["lowest"](each)
    for number, value in enumerate(found):
        one, other = each.values.parts[:, number]
        assert value == pytest.approx((other[one.argmin()] + one[other.argmin()]) / 2)


@given(st.integers(0, 10**6))
def test_correlations_are_those_of_scipy(seed):
    one, two = random_line(seed), random_line(seed + 1)
    found = OF_TWO_LINES["correlation"](one, two)
    ranks = OF_LINE["trend"](one)
    for number in range(len(found)):
        assert found[number] == pytest.approx(pearsonr(one.values.whole[number], two.values.whole[number])[0])
        assert ranks[number] == pytest.approx(spearmanr(one.values.whole[number], one.x)[0])


def test_a_share_of_everything_has_an_interval_all_the_same():
    values = with_rare_events(np.full(2001, 100.0), 20, difference=False)
    assert values[0] == 100
    low, high = np.quantile(values[1:], [0.025, 0.975])
    assert 85 < low < 95
    assert high > 99.9


@pytest.mark.parametrize(("images", "farthest"), [(10, 22), (300, 1)])
def test_a_change_that_no_question_shows_may_be_shown_by_the_next_one(images, farthest):
    """One in ten answers may change, and none of ten does."""
    values = with_rare_events(np.zeros(2001), images, difference=True)
    assert values[0] == 0
    low, high = np.quantile(values[1:], [0.025, 0.975])
    assert low == pytest.approx(-high, rel=0.2)
    assert 0.5 * farthest < high < farthest


def test_percentages_that_vary_stay_as_they_are():
    values = np.linspace(40, 60, 2001)
    assert with_rare_events(values, 10, difference=False) is values
    half = np.full(2001, 50.0)
    assert with_rare_events(half, 10, difference=False) is half


def test_phases_of_a_line_with_four_pieces():
    knots = np.interp(np.arange(33), [0, 5, 13, 24, 32], [0, 1, 0.2, 0.9, 0.1])
    curves = [line(knots), line(-2 * knots)]
    slopes = [JOINT["phase slope"](curves, 0, measure("phase slope", phase=phase))[0] for phase in (1, 2, 3, 4)]
    np.testing.assert_allclose(slopes, [0.2, -0.1, 0.7 / 11, -0.1], atol=0.02)
    assert JOINT["phase slope"](curves, 1, measure("phase slope", phase=1))[0] == pytest.approx(-2 * slopes[0])
    ends = [JOINT["phase end"](curves, 0, measure("phase end", phase=phase))[0] for phase in (1, 2, 3, 4)]
    np.testing.assert_allclose(ends, np.array([5, 13, 24, 32]) / 33, atol=1.5 / 33)
    assert JOINT["phases"](curves, 0, measure("phases"))[0] == 4
    with pytest.raises(NotDefinedError, match="7 states are too few"):
        JOINT["phase slope"]([line(knots[:7])], 0, measure("phase slope"))


def test_a_value_far_from_its_depth_is_none():
    many = np.append(np.arange(40) / 1000, 0.05)
    two = line(np.arange(41.0), x=np.arange(41), depth=many)
    assert OF_LINE_AND_KEYS["value"](two, measure("value", at=0.05))[0] == 40
    with pytest.raises(NotDefinedError, match=r"nothing was measured near a depth of 0\.5"):
        OF_LINE_AND_KEYS["value"](two, measure("value", at=0.5))


@pytest.mark.parametrize(
    ("layers", "at", "found"),
    [
        ([0], 0.5, None),
        ([0, 10], 0.5, None),
        ([0, 10, 35], 0.5, None),
        ([0, 22], 0.5, 22),
        ([0, 23], 0.5, None),
        (range(40), 1, 39),
        ([5, 7], 0, None),
    ],
)
def test_few_points_of_many_layers_do_not_stand_for_others(layers, at, found):
    few = line(layers, x=layers, depth=np.array(layers) / 40)
    if found is None:
        with pytest.raises(NotDefinedError, match="nothing was measured near a depth"):
            OF_LINE_AND_KEYS["value"](few, measure("value", at=at))
    else:
        assert OF_LINE_AND_KEYS["value"](few, measure("value", at=at))[0] == found


@pytest.mark.parametrize(("at", "found"), [(0, 0), (1, 7), (0.5, 4), (0.44, 4)])
def test_a_short_model_has_its_ends_and_its_middle(at, found):
    """The last of eight windows is at a depth of 7/8."""
    assert OF_LINE_AND_KEYS["value"](line(np.arange(8.0)), measure("value", at=at))[0] == found


def test_a_position_that_is_no_layer_is_one_of_those_that_were_measured():
    tokens = line([5, 6, 7], x=[1, 4, 16], depth=np.full(3, np.nan))
    assert OF_LINE_AND_KEYS["value"](tokens, measure("value", at=15))[0] == 7
    with pytest.raises(NotDefinedError, match="nothing was measured at 50, but from 1 to 16"):
        OF_LINE_AND_KEYS["value"](tokens, measure("value", at=50))


@pytest.mark.parametrize("statistic", ["begin of drop", "end of drop", "depth of lowest", "depth of highest"])
def test_what_does_not_drop_drops_nowhere(statistic):
    assert np.isnan(OF_LINE[statistic](line(np.full(10, 5.0)))).all()


def test_lines_that_are_too_short_say_so():
    with pytest.raises(NotDefinedError, match="a line of one point has no rise"):
        OF_LINE["depth of steepest rise"](line([1.0]))
    with pytest.raises(NotDefinedError, match=r"no layer in the part \[0.11, 0.12\]"):
        OF_LINE_AND_KEYS["share of loss"](line(-BUMP), measure("share of loss", part=(0.11, 0.12)))


def test_where_all_places_help_none_stands_out():
    """Blocking any place lowers the loss."""
    assert of("strongest excess", [-1.0] * 36, share=0.1) == pytest.approx(0)
    assert of("strongest excess", [-1.0] * 35 + [0.0], share=0.03) > 0.9


@given(st.integers(0, 10**6))
def test_an_extreme_of_all_images_is_at_least_as_large_as_one_that_is_chosen_and_measured(seed):
    """So that a claim that no value is lower can only be harder to support."""
    rng = np.random.default_rng(seed)
    totals, images = rng.normal(size=(30, 8)), [str(number) for number in range(30)]
    values = Resampled.of(totals, np.ones(30), images)
    each = Line(values, np.arange(8.0), np.arange(8) / 8, 30, 30)
    for statistic, sign in (("minimum", -1), ("maximum", 1), ("largest", 1)):
        find = MARGINS[statistic](each, measure(statistic))
        whole, crossed = find(values.whole, values.whole), values.crossed(find)
        assert sign * (whole - crossed).mean() >= 0
    assert (find(values.whole, values.whole) == np.abs(values.whole).max(axis=1)).all()


def test_lines_of_other_depth_are_compared_at_the_same_depth():
    short, long = line(np.arange(10.0)), line(np.arange(40.0) / 4)
    np.testing.assert_allclose(short.combined(long, np.subtract).values.whole, 0, atol=1e-9)
    assert OF_TWO_LINES["correlation"](short, long)[0] == pytest.approx(1)


def test_a_band_has_its_lower_end_and_the_last_layer():
    whole = line(np.arange(10.0))
    assert whole.within((0.2, 0.4)).x.tolist() == [2, 3]
    assert whole.within((0.9, 1)).x.tolist() == [9]
    assert whole.within(None) is whole


def test_a_mean_over_tasks_gives_each_the_same_weight_at_common_points():
    mean = mean_of([line([0, 2, 4]), line([10, 12], x=[0, 1], depth=np.array([0, 0.5]))])
    assert mean.values.whole[0].tolist() == [5, 7]
    assert (mean.questions, mean.images) == (20, 20)
    single = mean_of([line([3.0], x=[57]), line([5.0], x=[60])])
    assert single.values.whole[0].tolist() == [4]


@pytest.mark.parametrize(
    ("statistic", "keys", "message"),
    [
        ("share of loss", {"part": (0.3, 0.0)}, "the first number must be the smaller one"),
        ("mean", {"depth": (0.9, 0.1)}, "the first number must be the smaller one"),
        ("rise between drops", {"drops": ((0.3, 0.4), (0, 0.2))}, "the first band must end before the second one"),
        ("value", {"at": float("nan")}, "finite number"),
        ("phases", {"jointly": {"pair": ["a"], "prompt": ["p"]}}, "at most 1 item"),
        ("phases", {"depth": (0, 0.2)}, "depth: phases are cut on whole lines; remove this key"),
        ("phases", {"from_end": True}, "from_end: phases are cut on whole lines; remove this key"),
    ],
)
def test_keys_that_would_measure_something_else_are_refused(statistic, keys, message):
    with pytest.raises(ValidationError, match=message):
        measure(statistic, **keys)


# --- the registry ---


def test_every_statistic_has_one_function_with_a_docstring():
    tables = [MARGINS, OF_LINE, OF_LINE_AND_KEYS, OF_TWO_LINES, JOINT]
    names = [name for table in tables for name in table]
    assert sorted(names) == sorted(get_args(Statistic))
    assert all(function.__doc__ for table in tables for function in table.values())


@pytest.mark.parametrize("statistic", sorted(NEEDED))
def test_a_statistic_without_its_key_is_refused(statistic):
    with pytest.raises(ValidationError, match=f"{NEEDED[statistic]}: this key is missing"):
        Measure(statistic=statistic)


@pytest.mark.parametrize("key", sorted(set(NEEDED.values()) - {"jointly"}))
def test_a_key_of_another_statistic_is_refused(key):
    with pytest.raises(ValidationError, match=f"{key}: only for the statistic"):
        Measure(statistic="mean", **{key: KEYS[key]})
