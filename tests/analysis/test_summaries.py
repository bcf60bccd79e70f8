"""From rows a question to means: every kind of probe, and what is said of edges that do not apply."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.probes import (
    PROBES,
    AttentionMapProbe,
    KnockoutProbe,
    NormsProbe,
    PruningProbe,
    VisualLensProbe,
    WordsProbe,
    probe_class,
)
from vlmflow.probes.attention_map.grids import regridded
from vlmflow.probes.norms.bins import BINS, numbers_of_sinks, shares_of_norms
from vlmflow.probes.pruning import percentages
from vlmflow.probes.visual_lens import NAMES_OF_OBJECTS
from vlmflow.tables import SKIPPED

NOTHING_LEFT_OUT = SKIPPED.frame([])


def place(kind, rows, left_out=NOTHING_LEFT_OUT):
    probe = probe_class(kind)
    return summarise_model_task(probe.averaging, probe.table, rows, left_out, "m", "T")


def knockout_rows():
    return KnockoutProbe.table.frame(
        [
            {
                "task": "T",
                "question_id": str(question),
                "image_id": str(question),
                "edge": edge,
                "window": 3,
                "layer": layer,
                "p_base": 0.5,
                "p_knockout": 0.4,
                "change": -20.0 - question,
                "margin": -1.0 if question < 2 else None,
                "log_prob": -0.2,
                "flips": 100.0 * (question == 0),
                "token": "red",
                "sub_words": 1 + question % 2,
            }
            for edge in ("image -> last", "question -> last")
            for layer in range(2)
            for question in range(5)
        ]
    )


def test_answers_of_several_sub_words_are_counted():
    summary = place("knockout", knockout_rows())
    assert set(summary["quantity"]) == {"change", "margin", "log_prob", "flips"}
    means = {name: rows["mean"].unique().to_list() for (name,), rows in summary.group_by("quantity")}
    assert means["margin"] == [-1.0]
    assert means["flips"] == [20.0]
    assert set(summary.filter(pl.col("quantity") == "margin")["questions"]) == {2}, "those with two options"
    summary = summary.filter(pl.col("quantity") == "change")
    assert set(summary["multi_token_answers"]) == {2}
    assert set(summary["mean"]) == {-22.0}
    assert set(summary["questions"]) == {5}
    assert summary["note"].null_count() == 4


@pytest.mark.parametrize("kind", ["knockout", "heads", "pathway", "patching", "pruning"])
def test_shares_that_no_question_changes_have_an_interval(kind):
    """If all questions agree, resampling leaves no width, but to shares: 0 or 100 for each question."""
    averaging = probe_class(kind).averaging
    *names, along = averaging.by
    columns = {name: pl.lit(0) for name in names if name != "quantity"} | {along: pl.lit(0)}
    quantities = pl.DataFrame({"quantity": averaging.quantities})
    rows = pl.DataFrame({"question_id": ["1", "2"], "image_id": ["1", "2"]}).join(quantities, how="cross")
    for value, ends in ((0.0, (0, 65.76)), (100.0, (34.24, 100))):
        values = rows.with_columns(value=pl.lit(value), **columns)
        means = replace(averaging, prepare=None, further={}, halves=False, derived=None).average(values)
        spread = {row["quantity"]: (row["low"], row["high"]) for row in means.to_dicts() if row["low"] != row["high"]}
        assert spread.keys() == {"flips", "becomes", "accuracy"} & set(averaging.quantities)
        assert all(found == pytest.approx(ends, abs=0.01) for found in spread.values())


@pytest.mark.parametrize("kind", ["heads", "patching", "logit-attribution"])
def test_the_strongest_head_of_all_layers_is_the_extreme(kind):
    averaging = probe_class(kind).averaging
    columns = {name: pl.lit(0) for name in averaging.by if name not in ("head", "layer", "quantity")}
    random = np.random.default_rng(1)
    rows = pl.DataFrame(
        [
            {"question_id": str(question), "image_id": str(question), "head": head, "layer": layer}
            | {"value": random.normal() - 3 * (head == 1 and layer == 2)}
            for question in range(20)
            for head in range(3)
            for layer in range(4)
        ]
    ).with_columns(**columns, quantity=pl.lit(averaging.default))
    means = replace(averaging, prepare=None, further={}, halves=False, derived=None).average(rows)
    lowest = means.drop_nulls("extreme_low").sort("mean")
    assert len(lowest) == 2
    assert (lowest["head"][0], lowest["layer"][0]) == (1, 2)


def left_out(edge, why, ids):
    return [skipped_row(i, why, edge) for i in ids]


def skipped_row(question, reason, what=""):
    return {"question_id": str(question), "task": "T", "model": "m", "stage": "p", "what": what, "reason": reason}


def test_an_edge_that_applies_to_no_question_is_a_row_with_the_reason():
    account = SKIPPED.frame(
        [
            *left_out("options -> last", "no options: at all", range(3)),
            *left_out("options -> last", "another reason", range(1)),
            *left_out("image -> last", "this question has none, others do", range(1)),
            skipped_row(9, "the image cannot be read: x"),
        ]
    )
    summary = place("knockout", knockout_rows(), account)
    absent = summary.filter(pl.col("mean").is_null()).to_dicts()
    assert [(row["edge"], row["note"], row["questions"]) for row in absent] == [
        ("options -> last", "no options: at all", 0)
    ]
    empty = place("knockout", KnockoutProbe.table.frame([]), account)
    assert set(empty["edge"]) == {"options -> last", "image -> last"}
    assert empty["mean"].null_count() == 2


def test_similarity_of_words_is_averaged():
    rows = WordsProbe.table.frame(
        [
            {
                "task": "T",
                "question_id": str(q),
                "image_id": "1",
                "intervention": "mlp",
                "window": 9,
                "layer": 0,
                "similarity": q / 4,
            }
            for q in range(5)
        ]
    )
    (row,) = place("words", rows).to_dicts()
    assert (row["mean"], row["questions"], row["images"]) == (0.5, 5, 1)


@pytest.fixture
def norms():
    return NormsProbe.table.frame(
        [
            {"task": "T", "question_id": "1", "image_id": "1", "norms": [1.0, 1.0, None, 60.0], "related": [3]},
            {"task": "T", "question_id": "2", "image_id": "2", "norms": [1.0, 2.0**-50, 2.0**50], "related": None},
        ]
    )


def test_shares_of_norms_are_all_of_the_patches(norms):
    shares = shares_of_norms(norms)
    totals = shares.group_by("question_id", "patches").agg(pl.col("share").sum(), pl.len())
    assert totals["share"].to_list() == pytest.approx([100] * len(totals))
    assert set(totals["len"]) == {len(BINS) - 1}, "bins without patches are there, as 0"
    assert set(totals.filter(pl.col("question_id") == "2")["patches"]) == {"all"}
    related = shares.filter((pl.col("patches") == "related") & (pl.col("share") > 0)).to_dicts()
    assert len(related) == 1
    assert related[0]["norm"] <= 60 < related[0]["norm"] * 2 ** (1 / 8)
    summary = place("norms", norms)
    everything = summary.filter(pl.col("patches") == "all")
    assert everything["mean"].sum() == pytest.approx(100)
    assert np.isclose(everything.filter(pl.col("norm") == 1.0)["mean"][0], (200 / 3 + 100 / 3) / 2)


@pytest.mark.parametrize(
    ("threshold", "counts", "norm"),
    [({"above": 50.0}, [1, 1], 50.0), ({"above": 0.5}, [3, 2], 0.5), ({"quantile": 0.75}, [1, 1], 45.25)],
)
def test_sinks_are_counted_above_a_threshold_or_a_quantile(norms, threshold, counts, norm):
    rows = norms.with_columns(**{name: pl.lit(value) for name, value in threshold.items()})
    (numbers,) = numbers_of_sinks(rows)
    assert numbers["share"].to_list() == counts
    (row,) = place("norms", rows).filter(pl.col("patches") == "sinks").to_dicts()
    assert row["mean"] == np.mean(counts)
    assert row["norm"] == norm
    assert list(numbers_of_sinks(norms)) == []


def test_pruning_has_accuracy_work_and_time():
    rows = PruningProbe.table.frame(
        [
            {
                "task": "T",
                "question_id": str(q),
                "image_id": str(q),
                "layers_dropped": last,
                "predicted": "x",
                "correct": q < 3 and last == 0,
                "work_share": 1 - last / 10,
                "image_tokens": 576,
                "question_tokens": 10 + q,
                "time_share": 0.5 if q == 0 else None,
            }
            for q in range(4)
            for last in (0, 5)
        ]
    )
    assert percentages(rows)["accuracy"].to_list() == [100, 0, 100, 0, 100, 0, 0, 0]
    found = {
        (r["quantity"], r["layers_dropped"]): (r["mean"], r["questions"]) for r in place("pruning", rows).to_dicts()
    }
    assert found == {
        ("accuracy", 0): (75.0, 4),
        ("accuracy", 5): (0.0, 4),
        ("work", 0): (100.0, 4),
        ("work", 5): (50.0, 4),
        ("time", 0): (50.0, 1),
        ("time", 5): (50.0, 1),
        ("image tokens", 0): (576.0, 4),
        ("question tokens", 0): (11.5, 4),
    }


def test_pruning_without_a_correct_answer_has_no_accuracy():
    row = {
        "task": "T",
        "question_id": "1",
        "image_id": "1",
        "layers_dropped": 5,
        "predicted": "x",
        "correct": None,
        "work_share": 0.5,
        "image_tokens": 576,
        "question_tokens": 9,
        "time_share": None,
    }
    summary = place("pruning", PruningProbe.table.frame([row]))
    assert summary.select("quantity", "mean").rows() == [("work", 50.0)]


def test_every_kind_of_probe_is_averaged():
    for probe in PROBES:
        assert len(place(probe.kind_name(), probe.table.frame([]))) == 0
        assert set(probe.averaging.by) <= set(probe.summary_table().columns)


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    wanted=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
)
def test_maps_on_another_grid_keep_their_sum_and_position(size, wanted, seed):
    maps = np.random.default_rng(seed).random((2, size[0] * size[1]))
    moved = regridded(maps, size, wanted)
    assert moved.shape == (2, wanted[0] * wanted[1])
    np.testing.assert_allclose(moved.sum(axis=1), maps.sum(axis=1))
    np.testing.assert_allclose(regridded(maps, size, size), maps)
    # What lies in the upper left corner stays there.
    corner = np.zeros((1, size[0] * size[1]))
    corner[0, 0] = 1
    assert regridded(corner, size, wanted)[0, 0] == pytest.approx(
        min(1, size[0] / wanted[0]) * min(1, size[1] / wanted[1])
    )


def test_maps_of_several_grids_have_one_average():
    def row(question, rows, columns):
        cells = rows * columns
        shares = {"weight": [60.0 / cells] * cells, "share": [30.0 / cells] * cells}
        about = {"task": "T", "question_id": question, "image_id": question, "target": "question", "layer": 0}
        return about | {"rows": rows, "columns": columns} | shares

    summary = place("attention-map", AttentionMapProbe.table.frame([row("a", 2, 3), row("b", 3, 2), row("c", 4, 4)]))
    assert len(summary) == 2 * 2 * 2
    assert set(summary["questions"]) == {3}
    for quantity, total in (("weight", 60), ("share", 30)):
        cells = summary.filter(pl.col("quantity") == quantity)
        np.testing.assert_allclose(cells["mean"], total / 4)


def test_the_lens_reports_what_the_instruction_changes():
    def row(question, instruction, said):
        about = {
            "task": "T",
            "question_id": question,
            "image_id": question,
            "instruction": instruction,
            "instruction_position": "before",
        }
        numbers = {"elsewhere": 1.0, "shuffled": None, "entropy": 2.0, "words": 50.0, "agreement": 90.0}
        return about | {"layer": 3, "object": said, "decoded": None} | numbers

    rows = [row("a", "correct", 40.0), row("a", "none", 30.0), row("b", "correct", 10.0), row("b", "none", 25.0)]
    summary = place("visual-lens", VisualLensProbe.table.frame(rows))
    found = {(r["quantity"], r["instruction"]): r["mean"] for r in summary.to_dicts()}
    assert found["difference", "none"] == pytest.approx(2.5)  # (30 − 40 + 25 − 10) / 2: how many more than with it
    assert ("difference", "correct") not in found
    assert ("shuffled", "correct") not in found
    assert found["object", "correct"] == 25


def test_where_no_object_has_patches_the_lens_says_why():
    rows = VisualLensProbe.table.frame(
        [
            {"task": "T", "question_id": "a", "image_id": "a", "layer": 0}
            | {"instruction": "correct", "instruction_position": "after"}
            | {"object": None, "elsewhere": None, "shuffled": None, "decoded": None}
            | {"entropy": 2.0, "words": 50.0, "agreement": 100.0}
        ]
    )
    why = skipped_row("a", "no patches at all", NAMES_OF_OBJECTS)
    summary = place("visual-lens", rows, SKIPPED.frame([why]))
    noted = summary.filter(pl.col("note").is_not_null())
    assert noted.select("quantity", "note", "questions").rows() == [("object", "no patches at all", 0)]


def test_a_probe_that_measured_nothing_says_why():
    reasons = ["the image cannot be read", "patches do not apply", "patches do not apply"]
    account = SKIPPED.frame([skipped_row(n, reason) for n, reason in enumerate(reasons)])
    for kind in ("occlusion", "attention-map", "budget", "norms", "attention"):
        summary = place(kind, probe_class(kind).table.frame([]), account)
        assert summary["note"].to_list() == ["patches do not apply"]
        assert summary["mean"].null_count() == 1
