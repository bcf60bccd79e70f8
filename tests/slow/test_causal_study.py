"""studies/demo-causal.yaml, in small: every measure, wrong answers, several edges, cuts and heads."""

import polars as pl
import pytest
from safetensors.numpy import load_file

from support.results import rows_of, run_study, summary_of
from vlmflow.probes import HeadsProbe, KnockoutProbe, LogitAttributionProbe, StatesProbe
from vlmflow.probes.measures import MEASURES
from vlmflow.tables import ANSWERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("causal"), "demo-causal.yaml", {"heads": 8, "flow": 30})


def test_every_measure_is_averaged(demo):
    summary = summary_of(demo.results, demo.study, "flow")
    assert set(summary["quantity"]) == {*MEASURES, "redundancy"}
    assert summary["mean"].null_count() == 0
    lowest = dict(summary.group_by("quantity").agg(pl.col("mean").min()).iter_rows())
    assert lowest["margin"] < -1
    assert lowest["flips"] == 0
    assert "Change of the margin, which is the log-probability of the true option" in demo.page


def test_wrong_answers_are_those_that_were_answered_wrongly(demo):
    answers = rows_of(ANSWERS, demo.results / "tiny-llava" / "answers")
    wrong = set(answers.filter(~pl.col("correct"), pl.col("task") != "Changed")["question_id"])
    own, correct = (
        rows_of(KnockoutProbe.table, demo.results / "tiny-llava" / name) for name in ("wrong", "wrong-correct")
    )
    assert set(own["question_id"]) == set(correct["question_id"]) == wrong
    questions = own.group_by("task").agg(pl.col("question_id").n_unique())["question_id"]
    assert questions.min() >= 10, "of pale scenes"
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
    assert len(both) == 2 * 2 * len(MEASURES)
    for column in ("mean", "low", "high"):  # batches of other sizes round differently
        assert both[column].to_list() == pytest.approx(both[f"{column}_right"].to_list(), abs=1e-3)
    lost = begin.filter(quantity="change", edge="image -> question").sort("layer")
    assert lost.filter(layer=0)["mean"].max() < lost.filter(layer=9)["mean"].min()


def test_heads_are_drawn_and_ranked(demo):
    rows = rows_of(HeadsProbe.table, demo.results / "tiny-llava" / "heads")
    heads = rows["head"].n_unique()
    assert len(rows) == rows["question_id"].n_unique() * 4 * 10 * heads
    summary = summary_of(demo.results, demo.study, "heads").filter(quantity="change")
    assert summary.filter(intervention="zero at last")["mean"].min() < -1
    assert "strongest of a half, on the other" in demo.page
    assert "head 0 of layer" in demo.page or "head 1 of layer" in demo.page


def test_what_suffices_on_the_images_of_the_search_suffices_on_others(demo):
    path = summary_of(demo.results, demo.study, "suffices").filter(keep="path", quantity="flips")
    sizes = path.filter("smallest").group_by("task").agg(size=pl.col("cells").max())
    assert len(sizes) == 2
    found = path.join(sizes, on="task").filter(pl.col("cells") == pl.col("size"))
    assert found.filter(half="search")["mean"].max() <= 5 + 1e-9
    assert found.filter(half="confirm")["mean"].max() < 30
    assert path.filter(cells=0)["mean"].min() > 30
    assert 'data-label="smallest set"' in demo.page
    assert "image → question in layer" in demo.page


def test_the_changed_attribute_is_carried_from_its_patches_to_the_last_position(demo):
    summary = summary_of(demo.results, demo.study, "patching").filter(quantity="towards", site="input")
    mean = {(row["segment"], row["layer"]): row["mean"] for row in summary.iter_rows(named=True)}
    assert mean["image", 0] == pytest.approx(100, abs=1)
    assert mean["related patches", 0] > 90
    assert abs(mean["other patches", 0]) < 10
    assert mean["last", 0] == pytest.approx(0, abs=1e-3)
    assert mean["last", 9] > mean["image", 9]
    heads = summary_of(demo.results, demo.study, "patching-heads").filter(quantity="towards")
    assert heads["mean"].max() > 5


def test_words_that_the_study_names_are_a_segment(demo):
    summary = summary_of(demo.results, demo.study, "own-segments").filter(quantity="margin")
    assert set(summary["edge"]) == {"[colour words] -> last", "[other words] -> last"}
    assert summary["mean"].null_count() == 0
    assert "[colour words] ↛ last" in demo.page


def test_direct_contributions_add_up_to_the_margin(demo):
    rows = rows_of(LogitAttributionProbe.table, demo.results / "tiny-llava" / "attribution")
    parts = rows.filter(pl.col("part") != "head").drop_nulls("margin")
    assert (parts.group_by("question_id").agg(pl.col("margin").sum())["margin"] > 0).mean() > 0.95


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
