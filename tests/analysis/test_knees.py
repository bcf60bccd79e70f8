"""Knees: planted ones are found, others are not made up."""

import numpy as np
import polars as pl
import pytest

from vlmflow.analysis.knees import enough, knee
from vlmflow.probes import BudgetProbe
from vlmflow.probes.budget import ALL_TOKENS, KNEES
from vlmflow.probes.budget.knees import find_knees


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    """A hundred tell as much here, in a fifth of the time."""
    monkeypatch.setattr("vlmflow.analysis.knees.RESAMPLES", 100)


TOKENS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 576.0])


@pytest.mark.parametrize("place", [8, 32, 64, 128])
def test_a_planted_knee_is_found(place):
    """As the figure draws it: so much with every doubling, and then no more."""
    broken = np.maximum(1 - np.log2(1 + TOKENS) / np.log2(1 + place), 0) + 0.2
    assert knee(TOKENS, broken) == pytest.approx(place)
    assert enough(TOKENS, broken) == place


@pytest.mark.parametrize(
    "loss",
    [
        1 - np.log2(1 + TOKENS) / 10,
        1 - TOKENS / 576,
        np.ones_like(TOKENS),
        TOKENS / 576,
        1 - (TOKENS / 576) ** 3,
        1 - np.minimum(TOKENS, 2) / 20 - TOKENS / 700,
    ],
    ids=["even with every doubling", "even", "flat", "rising", "bent the other way", "a small step"],
)
def test_curves_without_a_knee_have_none(loss):
    assert knee(TOKENS, loss) is None


@pytest.mark.parametrize("most", [64, 576, 2880])
def test_a_knee_does_not_depend_on_where_the_axis_ends(most):
    tokens = np.array([0, *(2.0**power for power in range(12) if 2**power < most), most])
    assert knee(tokens, np.maximum(5 - np.log2(1 + tokens), 0)) == pytest.approx(31, abs=2)
    assert knee(tokens, 5 - 0.2 * np.log2(1 + tokens)) is None


def budget_rows(curve, questions=30, noise=0.02, seed=0, tokens=TOKENS):
    rng = np.random.default_rng(seed)
    rows = []
    for question in range(questions):
        for kept in tokens:
            whole = kept == tokens[-1]
            rows.append(
                {
                    "task": "T",
                    "question_id": str(question),
                    "image_id": str(question // 2),
                    "prompt": "own",
                    "keep": "first",
                    "tokens_requested": ALL_TOKENS if whole else int(kept),
                    "tokens_kept": int(kept),
                    "loss": curve(kept) + rng.normal(0, noise),
                }
            )
    return BudgetProbe.table.frame(rows)


def test_a_knee_of_one_image_has_no_interval():
    row = find_knees(budget_rows(lambda kept: max(6 - np.log2(1 + kept), 0), questions=1)).row(0, named=True)
    assert row["knee"] is not None
    assert row["low"] is row["tokens_for_95_percent_low"] is None


def test_a_knee_has_an_interval_and_losses():
    curve = budget_rows(lambda kept: max(1 - np.log2(1 + kept) / np.log2(65), 0) + 0.2)
    row = find_knees(curve).row(0, named=True)
    assert row["knee"] == pytest.approx(64)
    assert row["low"] <= row["knee"] <= row["high"]
    assert row["knee_found_percent"] > 95
    assert row["loss_without_image"] == pytest.approx(1.2, abs=0.02)
    assert row["loss_all_tokens"] == pytest.approx(0.2, abs=0.02)
    assert row["loss_at_knee"] == pytest.approx(0.2, abs=0.02)
    assert (row["questions"], row["images"]) == (30, 15)
    KNEES.frame(pl.DataFrame([row]).with_columns(model=pl.lit("m"), task=pl.lit("T")))


def test_a_knee_that_resampling_does_not_find_again_is_none():
    row = find_knees(budget_rows(lambda kept: 1 - kept / 576, noise=0.3)).row(0, named=True)
    assert row["knee"] is None
    assert row["low"] is None
    assert row["knee_found_percent"] < 50
    assert row["tokens_for_95_percent_low"] <= row["tokens_for_95_percent"] <= row["tokens_for_95_percent_high"]


def falling(kept):
    return max(1 - np.log2(1 + kept) / np.log2(17), 0)


def test_numbers_of_tokens_that_not_every_image_has_are_left_out():
    """As of images that become more tokens the larger they are."""
    small = budget_rows(falling, questions=4, tokens=np.array([0, 1, 2, 4, 8, 16, 32, 40.0]))
    large = budget_rows(falling, questions=4)
    assert len(set(small["tokens_requested"])) < len(set(large["tokens_requested"]))
    both = pl.concat([small, large.with_columns(pl.col("question_id", "image_id") + "-large")])
    row = find_knees(both).row(0, named=True)
    assert row["knee"] == pytest.approx(16)
    assert row["questions"] == 8
