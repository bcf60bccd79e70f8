"""Verdicts: from resamples to p-values, corrected over a family, to one of four words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmflow.claims.declared import Test as ClaimTest
from vlmflow.claims.verdict import LEVEL, holm, sides, verdict, verdict_of_all

SPREAD = np.concatenate([[0.0], np.linspace(-1, 1, 2000)])


def rule(**bound):
    return ClaimTest(statistic="mean", **bound)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"above": -1.5}, "supported"),
        ({"above": 0}, "undecided"),
        ({"above": 1.5}, "contradicted"),
        ({"below": 1.5}, "supported"),
        ({"below": 0}, "undecided"),
        ({"below": -1.5}, "contradicted"),
        ({"within": (-2, 2)}, "supported"),
        ({"within": (-0.5, 0.5)}, "undecided"),
        ({"within": (0.5, 2)}, "undecided"),
        ({"within": (2, 3)}, "contradicted"),
        ({"within": (-3, -2)}, "contradicted"),
    ],
)
def test_the_whole_interval_decides(bound, expected):
    assert verdict(*sides(rule(**bound), SPREAD[None])) == expected


@pytest.mark.parametrize(
    ("bound", "expected"),
    [({"below": 6}, "supported"), ({"below": 3.5}, "undecided"), ({"below": -2}, "contradicted")],
)
def test_of_two_estimates_the_less_certain_one_decides(bound, expected):
    assert verdict(*sides(rule(**bound), np.stack([SPREAD + 4, SPREAD]))) == expected


@given(st.floats(-1.2, 1.2))
def test_a_verdict_is_that_of_the_interval(limit):
    low, high = np.quantile(SPREAD[1:], [0.025, 0.975])
    if min(abs(limit - low), abs(limit - high)) < 0.01:
        return
    found = verdict(*sides(rule(above=limit), SPREAD[None]))
    assert found == ("supported" if limit < low else "contradicted" if limit > high else "undecided")


def test_what_is_exactly_nothing_is_neither_above_nor_below_nothing():
    exact = np.zeros((1, 2001))
    assert verdict(*sides(rule(above=0), exact)) == "contradicted"
    assert verdict(*sides(rule(below=0), exact)) == "contradicted"
    assert verdict(*sides(rule(within=(-1, 1)), exact)) == "supported"


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_equals_its_definition(p):
    adjusted, order = holm(p), sorted(range(len(p)), key=lambda each: p[each])
    assert all(after >= before for after, before in zip(adjusted, p, strict=True))
    for place, index in enumerate(order):
        steps = [(len(p) - rank) * p[order[rank]] for rank in range(place + 1)]
        assert adjusted[index] == pytest.approx(min(1.0, max(steps)))


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "does not apply"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["undecided", "contradicted", "supported"], "contradicted"),
        (["does not apply"], "does not apply"),
        ([], "does not apply"),
    ],
)
def test_a_claim_of_several_parts(parts, whole):
    assert verdict_of_all(parts) == whole


def test_the_level_is_that_of_a_95_percent_interval():
    assert pytest.approx(0.025) == LEVEL
