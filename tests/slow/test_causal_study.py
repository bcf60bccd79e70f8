"""studies/demo-causal.yaml, in small: every measure, wrong answers, several edges, cuts and heads."""

import polars as pl
import pytest
from safetensors.numpy import load_file

from support.results import rows_of, run_study, summary_of
from vlmflow.probes import HeadsProbe, KnockoutProbe, StatesProbe
from vlmflow.probes.measures import MEASURES
from vlmflow.tables import ANSWERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("causal"), "demo-causal.yaml", {"heads": 8, "flow": 30})


def test_every_measure_is_averaged(demo):
    summary = summary_of(demo.results, demo.study, "flow")
    assert set(summary["quantity"]) == set(MEASURES)
    assert summary["mean"].null_count() == 0
    lowest = dict(summary.group_by("quantity").agg(pl.col("mean").min()).iter_rows())
    assert lowest["margin"] < -1
    assert lowest["flips"] == 0
    assert "Change of the margin, which is the log-probability of the true option" in demo.page


def test_wrong_answers_are_those_that_were_answered_wrongly(demo):
    answers = rows_of(ANSWERS, demo.results / "tiny-llava" / "answers")
    wrong = set(answers.filter(~pl.col("correct"))["question_id"])
    own, correct = (
        rows_of(KnockoutProbe.table, demo.results / "tiny-llava" / name) for name in ("wrong", "wrong-correct")
    )
    assert set(own["question_id"]) == set(correct["question_id"]) == wrong
    questions = own.group_by("task").agg(pl.col("question_id").n_unique())["question_id"]
    assert questions.min() >= 15, "of pale scenes"
    assert questions.mean() >= 20
    assert (own["rank_answer_base"] == 1).all()
    assert (correct["rank_answer_base"] > 1).all()
    assert (own["log_prob_true"] == correct["log_prob_answer"]).all()
    assert (own["log_prob_true_base"] < own["log_prob_false_base"]).any()


def test_edges_that_are_cut_together_are_a_line_of_their_own(demo):
    summary = summary_of(demo.results, demo.study, "flow").filter(quantity="margin")
    together, alone = (
        summary.filter(edge=edge).sort("task", "layer")["mean"]
        for edge in ("question -> last + image -> last", "question -> last")
    )
    assert len(together) == len(alone) == 3 * 10
    assert ((together - alone).abs() > 1e-3).mean() > 0.9
    assert "question ↛ last + image ↛ last" in demo.page


def test_a_cut_from_the_first_layer_on_is_one_of_all_layers(demo):
    begin, end = (summary_of(demo.results, demo.study, name) for name in ("from-layer", "until-layer"))
    both = begin.filter(layer=0).join(end.filter(layer=9), on=["task", "edge", "quantity"])
    assert len(both) == 3 * 2 * len(MEASURES)
    for column in ("mean", "low", "high"):  # batches of other sizes round differently
        assert both[column].to_list() == pytest.approx(both[f"{column}_right"].to_list(), abs=1e-3)
    lost = begin.filter(quantity="change", edge="image -> question").sort("layer")
    assert lost.filter(layer=0)["mean"].max() < lost.filter(layer=9)["mean"].min()


def test_heads_are_drawn_and_ranked(demo):
    rows = rows_of(HeadsProbe.table, demo.results / "tiny-llava" / "heads")
    heads = rows["head"].n_unique()
    assert len(rows) == rows["question_id"].n_unique() * 3 * 10 * heads
    summary = summary_of(demo.results, demo.study, "heads").filter(quantity="change")
    assert summary.filter(intervention="zero at last")["mean"].min() < -1
    assert "ranks of two halves" in demo.page
    assert "head 0 of layer" in demo.page or "head 1 of layer" in demo.page


def test_states_are_exported_and_their_norm_grows(demo):
    folder = demo.results / "tiny-llava" / "states"
    rows = rows_of(StatesProbe.table, folder)
    assert len(rows) == 3 * 20 * 2 * 11
    tensors = load_file(folder / "export" / "states.safetensors")
    assert len(tensors) == 2 * 11
    assert {each.shape for each in tensors.values()} == {(60, len(rows["states"][0]))}
    summary = summary_of(demo.results, demo.study, "states")
    first, last = (summary.filter(layer=layer).sort("task", "segment")["mean"] for layer in (-1, 9))
    assert len(first) == 3 * 2
    assert (last > 3 * first).all()
