"""From rows to the table of claims: scopes, reasons, comparisons, corrections, and the table that people read."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from support.claim_rows import PlantedSource
from vlmflow.claims.declared import StudyClaim
from vlmflow.claims.judge import CLAIMS, judge
from vlmflow.claims.table import verdict_rows

LAYERS = 10
TASKS = ("One", "Two")
DROP = {"statistic": "lowest", "where": {"edge": "a -> b"}, "below": -5}


def source(mean, **settings):
    given = {"tasks": TASKS, "models": ("m", "n"), "images": 30} | settings
    columns = {"edge": given.pop("edges", ["a -> b", "c -> b"])} | given.pop("columns", {})
    return PlantedSource(columns, {"layer": range(LAYERS)}, mean, **given)


def drop(model, task, edge, *rest):
    """−20 at layer 4 for the first edge, and nothing for the other."""
    return -20.0 if edge == "a -> b" and rest[-1] == 4 else 0.0


def own(tests, **settings):
    entry = {name: settings.pop(name) for name in ("probes", "where", "against") if name in settings}
    return StudyClaim.model_validate(entry | {"own": {"text": "A sentence.", "tests": tests, **settings}})


def judged(claims, models=("m", "n"), **sources):
    return CLAIMS.frame(judge(claims, sources, dict.fromkeys(("m", "n"), LAYERS), models))


def test_a_claim_has_a_row_per_model_task_and_test():
    tests = [DROP | {"probe": "flow"}, {**DROP, "statistic": "depth of lowest", "below": 0.5}]
    rows = judged({"c": own(tests)}, flow=source(drop))
    assert rows.select("model", "scope", "rule").rows() == [
        (model, task, rule) for model in ("m", "n") for task in TASKS for rule in ("below -5", "below 0.5")
    ]
    assert set(rows["verdict"]) == set(rows["claim_verdict"]) == {"supported"}
    assert rows["test"][0] == "lowest of a -> b (flow)"
    assert rows["estimate"][0] == pytest.approx(-20, abs=0.6)
    assert rows["low"][0] < rows["estimate"][0] < rows["high"][0]
    assert set(rows["images"]) == {30}


def test_one_contradicted_task_contradicts_the_claim():
    def only_in_one(model, task, edge, layer):
        return drop(model, task, edge, layer) if task == "One" else 0.0

    rows = judged({"c": own([DROP | {"probe": "flow"}])}, flow=source(only_in_one))
    assert rows["verdict"].to_list()[:2] == ["supported", "contradicted"]
    assert set(rows["claim_verdict"]) == {"contradicted"}
    table = verdict_rows(rows)
    assert len(table) == 2
    assert table.row(0, named=True) | {"scope": "Two", "scopes": "1 of 2"} == table.row(0, named=True)


def test_a_mean_over_tasks_is_one_verdict():
    rows = judged({"c": own([DROP | {"probe": "flow"}], each=[])}, flow=source(drop))
    assert rows["scope"].to_list() == ["mean over tasks"] * 2
    rows = judged({"c": own([DROP | {"probe": "flow", "tasks": ["Two"]}], each=[])}, flow=source(drop))
    assert rows["test"][0] == "lowest of a -> b (flow) in Two"


def test_values_of_another_column_are_scopes_of_their_own():
    probe = source(drop, columns={"window": [1, 3, 5]})
    claim = own([DROP | {"probe": "flow"}], each=["task", "window"], values={"window": [1, 5]})
    rows = judged({"c": claim}, ("m",), flow=probe)
    assert rows["scope"].to_list() == [f"{task}, window {window}" for task in TASKS for window in (1, 5)]
    # Without the column, it is not known which of the lines is meant.
    rows = judged({"c": own([DROP | {"probe": "flow"}])}, ("m",), flow=probe)
    assert set(rows["verdict"]) == {"does not apply"}
    assert rows["reason"][0] == "the rows have several values of window: 1, 3, 5; give one under where"
    rows = judged({"c": own([DROP | {"probe": "flow"}], where={"window": 3})}, ("m",), flow=probe)
    assert set(rows["verdict"]) == {"supported"}


def test_the_trend_over_a_column_and_the_range_over_tasks():
    def grows(model, task, edge, window, layer):
        return -3.0 * window if layer == (4 if task == "One" else 6) else 0.0

    probe = source(grows, columns={"window": [1, 3, 5, 7]})
    trend = {"probe": "flow", "statistic": "lowest", "where": {"edge": "a -> b"}, "trend_over": "window", "below": 0}
    rows = judged({"c": own([trend])}, ("m",), flow=probe)
    assert rows["estimate"].to_list() == [-1, -1]
    spread = {"probe": "flow", "statistic": "depth of lowest", "where": {"edge": "a -> b", "window": 7}}
    claim = own([spread | {"range_over": "task", "below": 0.1}], each=[])
    (row,) = judged({"c": claim}, ("m",), flow=probe).to_dicts()
    assert (row["scope"], row["verdict"]) == ("all tasks", "contradicted")
    assert row["estimate"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tasks": ["Three"]}, "m was asked none of its tasks"),
        ({"edge": "x -> y"}, "no question of One has edge x -> y"),
        ({"several_sub_words": True}, "its rows have no number of sub-words"),
        ({"depth": (0.01, 0.02)}, "the model has no layer at this depth"),
        ({"images": 9}, "One has only 9 images with it"),
    ],
)
def test_a_claim_that_does_not_apply_gives_the_reason(settings, reason):
    keys = {key: settings.pop(key) for key in ("several_sub_words", "depth") if key in settings}
    test = DROP | {"probe": "flow", "where": {"edge": settings.pop("edge", "a -> b")}} | keys
    probe = source(drop, images=settings.pop("images", 30))
    rows = judged({"c": own([test], **settings)}, ("m",), flow=probe)
    assert set(rows["claim_verdict"]) == {"does not apply"}
    assert rows["reason"][0].startswith(reason)
    assert rows["estimate"].null_count() == len(rows)


def test_a_model_is_compared_with_a_second_one():
    def less(model, task, edge, layer):
        return drop(model, task, edge, layer) * (0.5 if model == "n" else 1)

    minus = {"statistic": "lowest", "where": {"edge": "a -> b"}, "model": "second"}
    test = {"probe": "flow", "statistic": "lowest", "where": {"edge": "a -> b"}, "minus": minus, "above": 0}
    claim = own([test | {"same_questions": True}], models=["n"], second_model="m")
    rows = judged({"c": claim}, flow=source(less))
    assert rows.select("model", "second_model").unique().rows() == [("n", "m")]
    assert set(rows["verdict"]) == {"supported"}
    assert rows["estimate"][0] == pytest.approx(10, abs=0.8)
    same = {"probe": "flow", "statistic": "correlation", "where": {"edge": "a -> b"}, "above": 0.8}
    pair = own([same | {"against": {"where": {"edge": "a -> b"}, "model": "second"}}], pairs=True)
    rows = judged({"c": pair}, flow=source(less))
    assert rows.select("model", "second_model").unique().rows() == [("m", "n")]
    alone = pair.model_copy(update={"models": ["m"]})
    (row,) = judged({"c": alone}, flow=source(less)).to_dicts()
    assert row["reason"] == "it compares two models, and it is limited to one"
    (row,) = judged({"c": own([test], second_model="m")}, ("m",), flow=source(less, models=("m",))).to_dicts()
    assert row["reason"] == "its only model is m, with which others are compared"
    (row,) = judged({"c": pair}, flow=source(less, models=("m",))).to_dicts()
    assert (row["verdict"], row["reason"]) == ("does not apply", "it compares two models, and the study has one")


def test_only_the_questions_that_both_lines_have_are_compared():
    first, second = source(drop), source(lambda *at: 2 * drop(*at))
    kept = [f"One{number}" for number in range(12)]
    second.cache["m", "One"] = second.read("m", "One").filter(pl.col("question_id").is_in(kept))
    test = {"probe": "flow", "statistic": "largest difference", "where": {"edge": "a -> b"}, "above": 10}
    claim = own([test | {"against": {"probe": "other", "where": {"edge": "a -> b"}}, "same_questions": True}])
    rows = judged({"c": claim}, ("m",), flow=first, other=second)
    assert rows["questions"].to_list() == [12, 30]


def test_a_line_may_be_subtracted_before_two_are_compared():
    """(a − c) − c is −20 at layer 4, and 5 elsewhere."""
    probe = source(lambda model, task, edge, layer: -30.0 if (edge, layer) == ("a -> b", 4) else -5.0, noise=0.1)
    test = {"probe": "flow", "statistic": "largest difference", "where": {"edge": "a -> b"}, "above": 19}
    other = {"where": {"edge": "c -> b"}}
    rows = judged({"c": own([test | {"less": other, "against": other}])}, ("m",), flow=probe)
    assert rows["estimate"].to_list() == pytest.approx([20, 20], abs=0.5)


def test_a_claim_sums_up_others():
    other = DROP | {"probe": "flow", "where": {"edge": "c -> b"}}
    claims = {"yes": own([DROP | {"probe": "flow"}]), "no": own([other])}
    both = StudyClaim.model_validate({"own": {"text": "Both.", "all_of": ["yes", "no"]}})
    rows = judged({"both": both, **claims}, ("m",), flow=source(drop))
    assert rows["claim"].unique(maintain_order=True).to_list() == ["both", "yes", "no"]
    none = judged({"both": both}, ("m",), flow=source(drop))
    assert none["reason"].to_list() == ["none of the claims that it sums up has a verdict"]
    first = rows.row(0, named=True)
    assert (first["claim_verdict"], first["scope"]) == ("contradicted", "yes supported; no contradicted")


def test_one_of_many_parts_may_be_contradicted_by_chance():
    """The value lies barely on the wrong side: by itself it contradicts a claim, and not one of forty."""

    def barely(model, task, edge, layer):
        return -0.6 if layer == 4 else 0.0

    test = {"probe": "flow", "where": {"edge": "a -> b"}, "statistic": "value", "at": 0.4, "above": 0}
    parts = {f"c{number}": own([test], tasks=["One"]) for number in range(40)}
    for number in (1, 40):
        names = list(parts)[:number]
        total = StudyClaim.model_validate({"own": {"text": "All.", "all_of": names}})
        rows = judged({"all": total, **{name: parts[name] for name in names}}, ("m",), flow=source(barely))
        found = dict(rows.select("claim", "claim_verdict").unique().iter_rows())
        assert found["c0"] == "contradicted", rows
        assert found["all"] == ("contradicted" if number == 1 else "undecided")


MARGINS = [
    {"statistic": "minimum", "above": -5},
    {"statistic": "maximum", "below": 5},
    {"statistic": "largest", "below": 5},
    {"statistic": "largest difference", "against": {"where": {"edge": "c -> b"}}, "below": 5},
]


@pytest.mark.parametrize("test", MARGINS, ids=[test["statistic"] for test in MARGINS])
def test_noise_does_not_contradict_that_an_effect_is_below_a_margin(test):
    """The mean is 0 everywhere; that of the noisiest layer exceeds the margin in every sample."""
    claim = own([{"probe": "flow", "where": {"edge": "a -> b"}} | test], tasks=["One"])
    names = [f"T{number}" for number in range(20)]
    probe = source(lambda *_: 0.0, noise=25.0, images=24, tasks=["One", *names])
    for name in names:
        rows = judged({"c": claim.model_copy(update={"tasks": [name]})}, ("m",), flow=probe)
        assert rows["verdict"].to_list() == ["undecided"]
        assert (rows["low"] <= rows["estimate"]).all()
        assert (rows["estimate"] <= rows["high"]).all()
    clear = source(lambda *at: {4: -20.0, 6: 20.0}.get(at[-1], 0.0) if at[2] == "a -> b" else 0.0, noise=5.0)
    assert judged({"c": claim}, ("m",), flow=clear)["verdict"].to_list() == ["contradicted"]


def test_the_range_over_named_tasks_is_that_of_these():
    def elsewhere(model, task, edge, layer):
        return -20.0 if layer == {"One": 1, "Two": 8}.get(task, 4) else 0.0

    probe = source(elsewhere, tasks=("One", "Two", "Three"))
    test = {"probe": "flow", "statistic": "depth of lowest", "where": {"edge": "a -> b"}, "range_over": "task"}
    for tasks, expected in ((["One", "Two"], 0.7), (["Two", "Three"], 0.4), (None, 0.7)):
        claim = own([test | {"tasks": tasks, "below": 0.1}], each=[])
        (row,) = judged({"c": claim}, ("m",), flow=probe).to_dicts()
        assert row["verdict"] == "contradicted"
        assert row["estimate"] == pytest.approx(expected)
    (row,) = judged({"c": own([test | {"tasks": ["One"], "below": 0.1}], each=[])}, ("m",), flow=probe).to_dicts()
    assert row["reason"] == "there is only one task"


def test_values_of_another_kind_give_a_reason():
    test = DROP | {"probe": "flow", "where": {"edge": "a -> b", "layer": "five"}}
    assert judged({"c": own([test])}, ("m",), flow=source(drop))["reason"][0] == (
        "layer 'five': this column has numbers"
    )
    trend = {"probe": "flow", "statistic": "lowest", "trend_over": "edge", "below": 0}
    probe = source(drop, edges=["a -> b", "c -> b", "d -> b"])
    rows = judged({"c": own([trend])}, ("m",), flow=probe)
    assert rows["reason"][0] == "edge has no numbers, with which there could be a trend"


def test_questions_without_a_common_layer_give_a_reason():
    probe = source(drop)
    rows = probe.read("m", "One")
    probe.cache["m", "One"] = rows.filter(pl.col("layer") == pl.col("question_id").str.tail(1).cast(pl.Int64) % 2)
    found = judged({"c": own([DROP | {"probe": "flow"}], tasks=["One"])}, ("m",), flow=probe)
    assert found["reason"].to_list() == ["its 30 questions have no layer in common"]


def test_a_share_in_which_nothing_varies_has_an_interval():
    probe = source(lambda *_: 100.0, noise=0.0, images=12)
    test = {"probe": "flow", "where": {"edge": "a -> b"}, "statistic": "share", "at": 0.4}
    minus = {"where": {"edge": "c -> b"}, "statistic": "share", "at": 0.4}
    rows = judged({"c": own([test | {"minus": minus, "above": -1}], tasks=["One"])}, ("m",), flow=probe)
    assert (rows["verdict"][0], rows["estimate"][0]) == ("undecided", 0)
    assert rows["low"][0] < -5


def test_a_second_model_has_phases_of_its_own():
    def turned(model, task, edge, layer):
        up = np.interp(layer, [0, 5, 13, 24, 32], [0, 1, 0.2, 0.9, 0.1])
        return up if model == "m" else -up

    probe = PlantedSource({"edge": ["a -> b"]}, {"layer": range(33)}, turned, models=("m", "n"), tasks=("One",),
                          noise=0.01)  # fmt: skip
    keys = {"probe": "flow", "statistic": "phase slope", "phase": 1, "where": {"edge": "a -> b"}}
    keys |= {"jointly": {"edge": ["a -> b"]}, "above": 0}
    verdicts = []
    for model in ("first", "second"):
        claim = own([keys | {"model": model}], models=["m"], **({"second_model": "n"} if model == "second" else {}))
        rows = CLAIMS.frame(judge({"c": claim}, {"flow": probe}, dict.fromkeys("mn", 33), ("m", "n")))
        verdicts += rows["verdict"].to_list()
    assert verdicts == ["supported", "contradicted"]


def test_many_tasks_are_corrected_for():
    """A weak effect that one task alone would support is undecided among twelve."""

    def weak(model, task, edge, layer):
        return -1.2 if layer == 4 else 0.0

    test = {"probe": "flow", "where": {"edge": "a -> b"}, "statistic": "value", "at": 0.4, "below": -0.7}
    names = tuple(f"T{number}" for number in range(12))
    many = judged({"c": own([test])}, ("m",), flow=source(weak, tasks=names, images=20))
    alone = [
        judged({"c": own([test], tasks=[name])}, ("m",), flow=source(weak, tasks=names, images=20))["verdict"][0]
        for name in names
    ]
    assert alone.count("supported") > many["verdict"].to_list().count("supported")
    assert (many["p_false"] >= many["p"]).all()


def test_the_same_rows_give_the_same_verdicts_however_they_are_sharded():
    claims = {"c": own([DROP | {"probe": "flow"}])}
    rows = judged(claims, flow=source(drop))
    turned = source(drop)
    for task in TASKS:
        turned.cache["m", task] = turned.read("m", task).sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(rows, judged(claims, flow=turned))


def test_a_scope_with_a_test_that_cannot_be_measured_gets_no_verdict():
    absent = DROP | {"probe": "flow", "where": {"edge": "x -> y"}}
    rows = judged({"c": own([DROP | {"probe": "flow"}, absent])}, ("m",), flow=source(drop))
    assert set(rows["verdict"]) == set(rows["claim_verdict"]) == {"does not apply"}
    assert rows["scope"].to_list() == ["One", "One", "Two", "Two"]
    assert rows["reason"].to_list()[1] == "no question of One has edge x -> y"
    assert rows["rule"].to_list() == ["below -5"] * 4
    (row,) = verdict_rows(rows).to_dicts()
    assert row["reason"] == "no question of One has edge x -> y"


def test_a_sum_has_every_pair_of_a_model():
    """m agrees with o, and not with n."""

    def other_way(model, task, edge, layer):
        return drop(model, task, edge, 9 - layer if model == "n" else layer)

    same = {"probe": "flow", "statistic": "correlation", "where": {"edge": "a -> b"}, "above": 0.8}
    pair = own([same | {"against": {"where": {"edge": "a -> b"}, "model": "second"}}], pairs=True)
    total = StudyClaim.model_validate({"own": {"text": "All.", "all_of": ["pair"]}})
    rows = CLAIMS.frame(
        judge(
            {"pair": pair, "all": total},
            {"flow": source(other_way, models=("m", "n", "o"))},
            dict.fromkeys("mno", LAYERS),
            ("m", "n", "o"),
        )
    )
    found = dict(rows.filter(claim="all").select("model", "claim_verdict").iter_rows())
    assert found == dict.fromkeys("mno", "contradicted")


def test_an_edge_that_the_first_task_lacks_is_judged_in_the_others():
    probe = source(drop)
    probe.cache["m", "One"] = probe.read("m", "One").filter(pl.col("edge") == "c -> b")
    claim = own([{"probe": "flow", "statistic": "lowest", "below": -5}], each=["task", "edge"])
    rows = judged({"c": claim}, ("m",), flow=probe)
    verdicts = dict(rows.select("scope", "verdict").iter_rows())
    assert verdicts["Two, edge a -> b"] == "supported"
    assert verdicts["One, edge a -> b"] == "does not apply"
    assert rows.filter(scope="Two, edge a -> b")["test"][0] == "lowest of a -> b (flow)"


def test_a_claim_about_all_tasks_needs_no_correction_if_all_of_them_hold():
    def weak(model, task, edge, layer):
        return -3.0 if layer == 4 else 0.0

    test = {"probe": "flow", "where": {"edge": "a -> b"}, "statistic": "value", "at": 0.4, "below": -1.0}
    names = tuple(f"T{number}" for number in range(12))
    rows = judged({"c": own([test])}, ("m",), flow=source(weak, tasks=names, images=20))
    assert set(rows["verdict"]) == {"supported"}
    assert rows["p_false"].to_list() == rows["p"].to_list()


def test_common_questions_are_those_of_the_second_line_that_the_study_names():
    probe = source(drop, columns={"prompt": ["p", "q"]})
    rows = probe.read("m", "One")
    kept = [f"One{number}" for number in range(12)]
    probe.cache["m", "One"] = rows.filter((pl.col("prompt") == "p") | pl.col("question_id").is_in(kept))
    test = {"probe": "flow", "statistic": "largest difference", "where": {"edge": "a -> b"}, "below": 10}
    claim = own(
        [test | {"against": {"where": {"edge": "a -> b"}}, "same_questions": True}],
        where={"prompt": "p"},
        against={"prompt": "q"},
    )
    assert judged({"c": claim}, ("m",), flow=probe)["questions"].to_list() == [12, 30]


def test_a_test_names_the_measure_of_an_intervention():
    """By default it is the change of the probability, which moves in one task here; the margin does in the other."""

    def by_measure(model, task, edge, quantity, layer):
        moves = (quantity, task) in (("change", "One"), ("margin", "Two"))
        return drop(model, task, edge, layer) if moves else 0.0

    rows = source(by_measure, columns={"quantity": ["change", "margin"]})
    rows.default = "change"
    claims = {
        name: own([DROP | {"probe": "flow"} | measure]) for name, measure in (("c", {}), ("m", {"measure": "margin"}))
    }
    found = judged(claims, flow=rows)
    verdicts = {(row["claim"], row["scope"]): row["verdict"] for row in found.iter_rows(named=True)}
    assert verdicts == {
        ("c", "One"): "supported",
        ("c", "Two"): "contradicted",
        ("m", "One"): "contradicted",
        ("m", "Two"): "supported",
    }
    assert "lowest of a -> b, margin (flow)" in set(found["test"])
