"""Phases: planted ones are found, others are not made up; and the cuts behind them."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from polars.testing import assert_frame_equal

from support.paths import random_llava
from support.questions import make_question
from vlmflow.analysis.phases import StraightLines, cuts, most_phases, supported
from vlmflow.engine.recording import LayerCall, Recording
from vlmflow.probes import SimilarityProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.similarity import PAIRS, PHASE_NAMES, PHASES
from vlmflow.probes.similarity.measure import similarity
from vlmflow.probes.similarity.phases import find_phases, names_of

LAYERS = 32
# Alignment up to layer 3, intra-modal encoding up to 11, inter-modal encoding up to 23, output preparation.
KNOTS = [-1, 3, 11, 23, 31]
CURVES = {
    "image and text": [0.05, 0.30, 0.10, 0.45, 0.20],
    "within image": [0.55, 0.45, 0.75, 0.65, 0.40],
    "within text": [0.40, 0.35, 0.50, 0.80, 0.55],
}


def planted(knots, curves, questions=40, noise=0.02, seed=0, images=None):
    """Rows of the table `similarity`: curves with these knots, each question off them by a shift and by noise."""
    rng = np.random.default_rng(seed)
    layers = np.arange(-1, knots[-1] + 1)
    frames = []
    for question in range(questions):
        for pair, values in curves.items():
            off = rng.normal(0, noise) + rng.normal(0, noise, len(layers))
            corrected = np.interp(layers, knots, values) + off
            frames.append(
                pl.DataFrame({"layer": layers, "corrected": corrected, "raw": corrected + 0.1}).with_columns(
                    task=pl.lit("T"),
                    question_id=pl.lit(str(question)),
                    image_id=pl.lit(str(question % images if images else question)),
                    prompt=pl.lit("own"),
                    pair=pl.lit(pair),
                    unrelated=pl.lit(0.1),
                )
            )
    return SimilarityProbe.table.frame(pl.concat(frames))


def test_four_planted_phases_are_found():
    found = PHASES.frame(find_phases(planted(KNOTS, CURVES)).with_columns(model=pl.lit("m"), task=pl.lit("T")))
    assert found["phase_count"].to_list() == [4] * 4
    assert found["agreement"].min() > 90
    assert found["name"].to_list() == list(PHASE_NAMES)
    assert found["last_layer"].to_list()[-1] == LAYERS - 1
    for row, begin in zip(found.to_dicts(), KNOTS[:-1], strict=True):
        # A knot belongs to the phase before it or after it.
        assert row["first_layer"] in (begin, begin + 1)
        assert row["low"] <= row["first_layer"] <= row["high"]
        assert row["high"] - row["low"] <= 2
    slopes = np.diff([CURVES[pair] for pair in PAIRS], axis=1) / np.diff(KNOTS)
    for column, expected in zip(("between", "within_image", "within_text"), slopes, strict=True):
        np.testing.assert_allclose(found[column], expected, atol=0.012)
        assert (found[f"{column}_low"] <= found[column]).all()
        assert (found[column] <= found[f"{column}_high"]).all()
        assert (found[f"{column}_high"] - found[f"{column}_low"]).max() < 0.05


@pytest.mark.parametrize(
    ("knots", "phases"), [([-1, 31], 1), ([-1, 15, 31], 2), ([-1, 9, 20, 31], 3), ([-1, 5, 12, 18, 25, 31], 5)]
)
def test_other_numbers_of_phases_are_not_made_into_four(knots, phases):
    rng = np.random.default_rng(3)
    curves = {pair: [0.5 if n % 2 else 0.1 for n in range(len(knots))] for pair in PAIRS}
    curves["within text"] = list(np.cumsum(rng.uniform(0.1, 0.3, len(knots))))
    found = find_phases(planted(knots, curves))
    assert set(found["phase_count"]) == {phases}
    own = found.filter(pl.col("phases") == phases)
    assert own["phase"].to_list() == list(range(1, phases + 1))
    assert set(own["name"]) == {""}
    # Where four would be is told as well, for comparison.
    assert len(found.filter(pl.col("phases") == 4)) == 4


LAYERS_OF = np.linspace(0, 1, 41)
BENDS = {
    "a sigmoid": 1 / (1 + np.exp(-20 * (LAYERS_OF - 0.5))),
    "a parabola": LAYERS_OF**2,
    "an exponential": np.exp(-3 * LAYERS_OF),
}


@pytest.mark.parametrize("name", BENDS)
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_a_bend_is_not_cut_into_as_many_phases_as_fit(name, noise):
    """However sure the data are: a bend takes two or three lines, whatever more of them would fit still better."""
    off = np.random.default_rng(0).normal(0, noise, (41, 3))
    curves = np.column_stack([BENDS[name], -BENDS[name], 2 * BENDS[name]])
    curves = (curves / curves.std(axis=0) + off)[None]
    assert supported(curves, cuts(curves, most_phases(41, 3)), noise**2)[0] in (2, 3)


def test_a_curve_that_is_noise_does_not_hide_the_phases_of_the_others():
    flat = CURVES | {"within image": [0.3] * 5}
    rows = planted(KNOTS, flat, noise=0.03)
    assert set(find_phases(rows)["phase_count"]) == {4}


def test_shifts_between_questions_do_not_change_the_phases():
    """As images differ in how alike their tokens are, at all layers by as much."""
    rows = planted(KNOTS, CURVES, questions=30, noise=0.01)
    off = pl.col("question_id").cast(pl.Float64) / 10
    assert find_phases(rows.with_columns(pl.col("corrected") + off))["phase_count"][0] == 4


def test_noise_alone_is_no_phase():
    rows = planted(KNOTS, {pair: [0.3] * 5 for pair in PAIRS}, noise=0.1)
    assert set(find_phases(rows)["phase_count"]) == {1}


def test_four_phases_with_other_slopes_have_no_names():
    turned = {pair: [-value for value in values] for pair, values in CURVES.items()}
    found = find_phases(planted(KNOTS, turned))
    assert set(found["phase_count"]) == {4}
    assert set(found["name"]) == {""}
    slopes = np.array([[1, 0, 0], [-1, 1, 1], [1, 0, 0], [-1, -1, -1]], dtype=float)
    sure = np.stack([slopes - 0.1, slopes + 0.1])
    assert names_of(sure) == PHASE_NAMES
    asked = ((0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2))
    for phase, curve in asked:
        other, unsure = sure.copy(), sure.copy()
        other[:, phase, curve] *= -1
        assert names_of(other) == ("",) * 4
        unsure[:, phase, curve] = (-1.1, 1.1)
        assert names_of(unsure) == ("",) * 4
    assert names_of(sure[:, :3]) == ("",) * 3


def test_phases_of_one_image_have_no_interval():
    found = find_phases(planted(KNOTS, CURVES, questions=5, images=1))
    assert found["agreement"].null_count() == len(found)
    later = found.filter(pl.col("phase") > 1)
    assert later["low"].null_count() == later["high"].null_count() == len(later)


def test_noisier_data_have_wider_intervals():
    sure, vague = (find_phases(planted(KNOTS, CURVES, questions=8, noise=noise)) for noise in (0.01, 0.12))

    def width(found):
        return (found.filter(pl.col("phases") == 4)["high"] - found.filter(pl.col("phases") == 4)["low"]).sum()

    assert width(vague) > width(sure) + 2
    assert vague["agreement"][0] < sure["agreement"][0]


def test_images_are_resampled_not_questions():
    once = find_phases(planted(KNOTS, CURVES, questions=6, noise=0.08))
    rows = planted(KNOTS, CURVES, questions=6, noise=0.08)
    tenfold = pl.concat([rows.with_columns(question_id=pl.col("question_id") + f"-{copy}") for copy in range(10)])
    again = find_phases(tenfold)
    assert_frame_equal(again.drop("questions"), once.drop("questions"), rel_tol=1e-9)
    assert again["questions"][0] == 60


def test_few_layers_show_few_phases():
    assert most_phases(11, 3) == 3
    assert most_phases(33, 3) >= 6
    assert most_phases(2, 3) == 1
    found = find_phases(planted([-1, 1, 2, 4], {pair: [0.1, 0.4, 0.2, 0.9] for pair in PAIRS}))
    assert set(found["phases"]) <= {1, 2}
    assert "alignment" not in set(found["name"])


def test_curves_that_never_change_have_one_phase():
    found = find_phases(planted(KNOTS, {pair: [0.3] * 5 for pair in PAIRS}, noise=0.0))
    assert set(found["phase_count"]) == {1}
    assert SimilarityProbe.features.find(SimilarityProbe.table.frame([]), "m", "T").equals(PHASES.frame([]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), states=st.integers(4, 12), phases=st.integers(1, 4))
@example(seed=0, states=4, phases=2)
def test_cuts_are_the_best_of_all_ways_to_cut(seed, states, phases):
    """Against every way to cut."""
    from itertools import combinations

    if phases * 2 > states:
        return
    curves = np.random.default_rng(seed).normal(size=(3, states, 3))
    errors = StraightLines(curves).errors.sum(axis=3)
    ways = [
        [*inner, states]
        for inner in combinations(range(2, states - 1), phases - 1)
        if all(b - a >= 2 for a, b in zip([0, *inner], [*inner, states], strict=True))
    ]
    for each, found in zip(errors, cuts(curves, phases)[phases].tolist(), strict=True):
        best = min(sum(each[a, b] for a, b in zip([0, *way], way, strict=False)) for way in ways)
        assert sum(each[a, b] for a, b in zip([0, *found], found, strict=False)) == pytest.approx(best)


def test_the_cost_is_the_distance_to_the_best_lines():
    curves = np.random.default_rng(1).normal(size=(9, 3))
    fits = [np.polyfit(np.arange(5), curves[2:7, place], 1, full=True) for place in range(3)]
    fitted = StraightLines(curves[None])
    np.testing.assert_allclose(fitted.errors[0, 2, 7], [fit[1][0] for fit in fits])
    np.testing.assert_allclose(fitted.slopes[0, 2, 7], [fit[0][0] for fit in fits])
    lines = (np.arange(12)[:, None] * np.array([1.0, -2.0, 0.5]))[None]
    assert supported(lines, cuts(lines, 3)).tolist() == [1]


@pytest.mark.planted("similarity")
def test_phases_are_found_from_states_with_planted_similarities():
    """From states to phases: states are planted whose cosines are known exactly, layer by layer, in a model that is
    asked as ever."""
    vlm = random_llava(layers=LAYERS, grid=3)
    width, shares = 400, {pair: np.interp(np.arange(-1, LAYERS), KNOTS, CURVES[pair]) for pair in PAIRS}
    turns = {}

    def record(prompt):
        """Image tokens √a·c + √(b − a)·m + √(1 − b)·own, texts the same with another m: a between, b within."""
        number = turns.setdefault(prompt.inputs["pixel_values"].sum().item(), len(turns))
        length = len(prompt)
        states = torch.zeros(LAYERS + 1, 1, length, width, dtype=torch.float64)
        start = 60 * number  # prompts share no direction
        for segment, axis in (("image", 1), ("question", 2)):
            within = shares["within image" if segment == "image" else "within text"]
            for place, position in enumerate(prompt.positions(segment).tolist()):
                own = start + 3 + place + (20 if segment == "question" else 0)
                between = np.minimum(shares["image and text"], within)
                states[:, 0, position, start] = torch.tensor(between).sqrt()
                states[:, 0, position, start + axis] = torch.tensor(within - between).sqrt()
                states[:, 0, position, own] = torch.tensor(1 - within).sqrt()
        states *= 7.0  # lengths play no part
        calls = [LayerCall(state, {}, state, state) for state in states[:-1]]
        return Recording(calls, states[-1], torch.zeros(length, dtype=torch.bool))

    vlm.record = record
    texts = ["what color is the circle ?", "is the red square in the image ?", "what is to the left , a circle ?"]
    rows = []
    for number, text in enumerate(texts):
        rows.append(make_question(id=str(number), image_id=str(number), text=text, image=number))
    images = [Image.new("RGB", (12, 12), (80 * number, 10, 10)) for number in range(3)]
    context = ProbeContext(vlm, questions=rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlmflow.probes.context.open_image", lambda number: images[number])
        measured = pl.concat(
            [
                similarity(context, row, {"own": "{question}"}, 2).with_columns(
                    task=pl.lit("T"), question_id=pl.lit(row.id), image_id=pl.lit(row.image_id)
                )
                for row in rows
            ]
        )
    for (pair, _), found in measured.group_by("pair", "question_id"):
        np.testing.assert_allclose(found.sort("layer")["corrected"], shares[pair], atol=1e-9)
    phases = find_phases(SimilarityProbe.table.frame(measured)).filter(pl.col("phases") == pl.col("phase_count"))
    assert phases["phase_count"][0] == 4
    for begin, row in zip(KNOTS[:-1], phases.to_dicts(), strict=True):
        assert row["first_layer"] in (begin, begin + 1)
        assert row["high"] - row["low"] <= 1
