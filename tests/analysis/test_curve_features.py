"""Phases and knees: planted ones are found, others are not made up; and the statistics behind them."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from polars.testing import assert_frame_equal
from scipy.stats import bootstrap

from support.paths import random_llava
from support.questions import make_question
from vlmflow.analysis.bootstrap import resampled, summarise, summarise_cells
from vlmflow.analysis.knees import enough, knee
from vlmflow.analysis.phases import StraightLines, cuts, most_phases, supported
from vlmflow.engine.record import LayerCall, Recording
from vlmflow.probes import BudgetProbe, SimilarityProbe
from vlmflow.probes.budget import ALL_TOKENS, KNEES
from vlmflow.probes.budget.knees import find_knees
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
    "within text": [0.40, 0.35, 0.50, 0.55, 0.80],
}


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    """A hundred tell as much here, in a fifth of the time."""
    monkeypatch.setattr("vlmflow.analysis.phases.RESAMPLES", 100)
    monkeypatch.setattr("vlmflow.analysis.knees.RESAMPLES", 100)


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
def test_a_bend_is_not_cut_into_as_many_phases_as_there_is_room_for(name, noise):
    """However sure the data are: a bend takes two or three lines, whatever more of them would fit still better."""
    off = np.random.default_rng(0).normal(0, noise, (41, 3))
    curves = np.column_stack([BENDS[name], -BENDS[name], 2 * BENDS[name]])
    curves = curves / curves.std(axis=0) + off
    assert supported(curves, cuts(curves, most_phases(41, 3)), noise**2) in (2, 3)


def test_a_curve_that_is_noise_does_not_hide_the_phases_of_the_others():
    flat = CURVES | {"within image": [0.3] * 5}
    rows = planted(KNOTS, flat, noise=0.03)
    assert set(find_phases(rows)["phase_count"]) == {4}


def test_that_questions_lie_higher_or_lower_makes_no_error():
    """As images differ in how alike their tokens are, at all layers by as much."""
    rows = planted(KNOTS, CURVES, questions=30, noise=0.01)
    off = pl.col("question_id").cast(pl.Float64) / 10
    assert find_phases(rows.with_columns(pl.col("corrected") + off))["phase_count"][0] == 4


def test_noise_alone_is_no_phase():
    rows = planted(KNOTS, {pair: [0.3] * 5 for pair in PAIRS}, noise=0.1)
    assert set(find_phases(rows)["phase_count"]) == {1}


def test_four_phases_that_do_something_else_are_not_given_the_names():
    turned = {pair: [-value for value in values] for pair, values in CURVES.items()}
    found = find_phases(planted(KNOTS, turned))
    assert set(found["phase_count"]) == {4}
    assert set(found["name"]) == {""}
    slopes = np.array([[1, 0, 0], [-1, 1, -1], [1, 0, 0], [-1, 0, 0]], dtype=float)
    assert names_of(slopes) == PHASE_NAMES
    for phase, curve in ((0, 0), (1, 0), (2, 0)):
        other = slopes.copy()
        other[phase, curve] *= -1
        assert names_of(other) == ("",) * 4
    slopes[1, 1] = -1
    assert names_of(slopes) == ("",) * 4
    assert names_of(slopes[:3]) == ("",) * 3


def test_of_one_image_there_is_no_interval():
    found = find_phases(planted(KNOTS, CURVES, questions=5, images=1))
    assert found["agreement"].null_count() == len(found)
    later = found.filter(pl.col("phase") > 1)
    assert later["low"].null_count() == later["high"].null_count() == len(later)
    row = find_knees(budget_rows(lambda kept: max(6 - np.log2(1 + kept), 0), questions=1)).row(0, named=True)
    assert row["knee"] is not None
    assert row["low"] is row["tokens_for_95_percent_low"] is None


def test_an_interval_is_as_wide_as_the_data_are_vague():
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


def test_curves_that_never_change():
    found = find_phases(planted(KNOTS, {pair: [0.3] * 5 for pair in PAIRS}, noise=0.0))
    assert set(found["phase_count"]) == {1}
    assert SimilarityProbe.features.find(SimilarityProbe.table.frame([]), "m", "T").equals(PHASES.frame([]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), states=st.integers(4, 12), phases=st.integers(1, 4))
@example(seed=0, states=4, phases=2)
def test_cuts_are_the_best_there_are(seed, states, phases):
    """Against every way to cut."""
    from itertools import combinations

    if phases * 2 > states:
        return
    curves = np.random.default_rng(seed).normal(size=(states, 3))
    cost = StraightLines().fit(curves)
    ways = [
        [*inner, states]
        for inner in combinations(range(2, states - 1), phases - 1)
        if all(b - a >= 2 for a, b in zip([0, *inner], [*inner, states], strict=True))
    ]
    best = min(sum(cost.error(a, b) for a, b in zip([0, *way], way, strict=False)) for way in ways)
    found = cuts(curves, phases)[phases]
    assert sum(cost.error(a, b) for a, b in zip([0, *found], found, strict=False)) == pytest.approx(best)


def test_the_cost_is_the_distance_to_the_best_lines():
    curves = np.random.default_rng(1).normal(size=(9, 3))
    expected = sum(np.polyfit(np.arange(5), curves[2:7, place], 1, full=True)[1][0] for place in range(3))
    assert StraightLines().fit(curves).error(2, 7) == pytest.approx(expected)
    lines = np.arange(12)[:, None] * np.array([1.0, -2.0, 0.5])
    assert supported(lines, cuts(lines, 3)) == 1


@pytest.mark.planted("similarity")
def test_states_with_planted_similarities():
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
                    question_id=pl.lit(row.id), image_id=pl.lit(row.image_id)
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


# --- knees ---

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
def test_curves_without_a_knee(loss):
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


def test_knees_with_intervals():
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


# --- statistics ---


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
