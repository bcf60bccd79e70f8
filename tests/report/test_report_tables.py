"""The report's tables of tasks and of accuracy."""

import polars as pl
import pytest

from support.claim_rows import as_published
from vlmflow.analysis.group_accuracy import accuracy_rows
from vlmflow.claims.declared import StudyClaim
from vlmflow.claims.judge import judge
from vlmflow.claims.table import verdict_rows
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.report import tables
from vlmflow.tables import ANSWERS, TASK

EVIL = "<script>alert(1)</script>"


def test_the_table_of_tasks_holds_counts_and_an_example(paper_candidates):
    candidates, folder = paper_candidates
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    evil = kept.with_columns(question=pl.lit(EVIL))
    rows = [tables.task_row("T", evil), tables.task_row("Empty", TASK.frame([]))]
    assert (rows[0]["questions"], rows[0]["images"], rows[0]["kind"]) == (len(kept), 6, "both")
    page = tables.tasks_page(rows, EVIL)
    assert "<script" not in page
    assert "data:image/jpeg;base64," in page
    written = tables.without_images(rows)
    assert written["questions"].to_list() == [len(kept), 0]


def test_the_table_of_accuracy_has_a_row_per_group(paper_candidates):
    candidates, folder = paper_candidates
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    answers = ANSWERS.frame(
        [
            {
                "task": "T",
                "question_id": row["question_id"],
                "image_id": row["image_id"],
                "predicted": "left",
                "answer": row["answer"],
                "correct": row["answer"] in ("left", "yes"),
                "probability": 0.5,
                "token_ids": [1],
                "tokens": ["x"],
                "token_probabilities": [0.5],
            }
            for row in kept.to_dicts()
        ]
    )
    every = accuracy_rows(kept, answers)
    groups = every.filter(pl.col("detailed") == "")
    assert groups["structural"].to_list() == ["query", "choose", "choose", "choose", "logical", "compare"]
    for row in groups.to_dicts():
        inside = kept.filter(pl.col("structural") == row["structural"], pl.col("semantic") == row["semantic"])
        right = answers.join(inside, on="question_id", how="semi")["correct"]
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["questions"] == len(inside)
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    # What is never or always right has an interval all the same.
    sure = groups.filter(pl.col("accuracy").is_in([0.0, 1.0]))
    assert len(sure)
    assert ((sure["high"] - sure["low"]) > 0.2).all()
    detailed = every.filter(pl.col("detailed") != "")
    assert detailed["questions"].sum() == groups["questions"].sum()
    for row in detailed.to_dicts():
        inside = kept.filter(pl.col("detailed") == row["detailed"], pl.col("structural") == row["structural"])
        assert row["accuracy"] == pytest.approx(answers.join(inside, on="question_id", how="semi")["correct"].mean())
    assert "twoCommon" in tables.accuracy_page(every, "T", "m")
    page = tables.accuracy_page(groups, "T", EVIL)
    assert "<script" not in page
    assert page.count("<tr>") == 5  # the head, and four structural types
    odd = groups.with_columns(structural=pl.lit("count"), semantic=pl.lit("number")).head(1)
    page = tables.accuracy_page(pl.concat([groups, odd]), "T", "m")
    assert "Count" in page
    assert page.count("<tr>") == 6
    described = answers.with_columns(correct=pl.when(kept["structural"] != "query").then("correct"))
    assert (
        accuracy_rows(kept, described)
        .filter(pl.col("detailed") == "")
        .equals(groups.filter(pl.col("structural") != "query"))
    )
    empty = accuracy_rows(kept.head(0), answers)
    assert len(empty) == 0
    assert '<table class="stack">' in tables.accuracy_page(empty, "T", "m")


def test_the_page_of_claims_has_a_row_per_model_and_no_markup_of_data():
    tests = [{"probe": "flow", "statistic": "lowest", "where": {"edge": "image -> question"}, "below": -5}]
    own = {"text": EVIL, "paper": "flow", "source": EVIL, "printed": "−60 %", "tests": tests}
    entry = StudyClaim.model_validate({"own": own})
    small = as_published(images=12)["flow"]
    judged = judge({"mine": entry}, {"flow": small}, {"a": 40, "small": 40}, ["a", "small"])
    rows = verdict_rows(judged)
    page = tables.claims_page(rows, EVIL)
    assert "<script" not in page
    assert page.count('rowspan="2"') == 1
    assert page.count("verdict supported") == 2
    assert "printed: −60 %" in page
    assert "rule: below −5" in page
    nothing = verdict_rows(judge({"mine": entry}, {"flow": as_published(images=9)["flow"]}, {"a": 40}, ["a"]))
    assert "ChooseAttr has only 9 images with it" in tables.claims_page(nothing, "Claims")
