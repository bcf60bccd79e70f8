"""The files of the page of single questions: what they list, how large they are, and that text cannot become markup."""

import base64
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from support.explored import EDGES, EVIL, GRID, LAYERS, explored_model, write_explorer
from vlmflow.data.sampling import NotDrawn
from vlmflow.report.explored_rows import LAYERS as MAPS
from vlmflow.report.explored_rows import chosen_edges, curves, curves_of, means, question_texts
from vlmflow.report.explorer import DROPPED, PART, explorer_page, script
from vlmflow.tables import QUESTIONS, SKIPPED

COUNT = 120


@pytest.fixture(scope="module")
def model():
    return explored_model(COUNT)


def received(text):
    """The arguments that a script hands to the page."""
    assert text.startswith("explorer.receive(...[")
    return json.loads(text.removeprefix("explorer.receive(...").removesuffix(");\n"))


def test_the_index_lists_every_question_with_its_state(model):
    index = model.index()
    assert len(index["question_id"]) == COUNT + 5
    assert index["state"].count("dropped") == 5
    assert index["state"].count("wrong") == len(range(0, COUNT, 7))
    assert sum(index["analysed"]) == COUNT // 2
    assert {index["reasons"][number] for number in index["reason"] if number is not None} == {
        "the image cannot be opened"
    }
    assert list(index["effects"]) == EDGES
    first = model.curves.filter(question_id="q00003", edge=EDGES[1])["change"].min()
    assert index["effects"][EDGES[1]][index["question_id"].index("q00003")] == pytest.approx(first, abs=0.06)
    assert set(index["looks"]) >= {*EDGES, "capitalised answer"}
    assert index["looks"]["question -> last"]["name"] == "question ↛ last"


def test_parts_have_the_questions_in_the_order_of_the_index(model):
    index, parts = model.index(), list(model.parts())
    assert [len(part) for part in parts] == [PART, PART, COUNT + 5 - 2 * PART]
    details = [detail for part in parts for detail in part]
    for number in (0, 57, COUNT - 1):
        row = model.curves.filter(question_id=index["question_id"][number], edge=EDGES[0]).sort("layer")
        first, values = details[number]["curves"][EDGES[0]]
        assert first == 0
        assert values == pytest.approx(row["change"].to_list(), abs=0.06)
        assert details[number]["tokens"] == [["Re", 0.9], ["d", 0.8]]
        assert base64.b64decode(details[number]["view"]["image"])[:4] == b"RIFF"
    assert details[-1] == {}, "a dropped question has no details"
    shown = details[0]["attention"]["last"]
    assert len(shown["layers"]) == len(shown["cells"]) == MAPS < LAYERS
    cells = np.frombuffer(base64.b64decode(shown["cells"][0]), np.uint8)
    weights = np.array(model.attention.filter(question_id="q00000", layer=shown["layers"][0])["weight"][0])
    assert len(cells) == GRID * GRID
    assert cells * shown["most"] / 255 == pytest.approx(weights, abs=shown["most"] / 250)
    assert "attention" not in details[20]
    words = details[0]["words"]
    assert [words["words"][number] for number in words["cells"][3][:3]] == ["red", "a very long word", EVIL]


def test_questions_that_could_not_be_asked_have_their_words(tmp_path):
    asked = explored_model(3)
    row = dict.fromkeys(QUESTIONS.columns) | {"image_id": "1", "objects": [], "answer": "red"}
    row |= dict.fromkeys(("structural", "semantic", "detailed"), "query")
    rows = [
        row | {"question_id": "whole", "question": "Whole?"},
        row | {"question_id": "broken", "question": "Broken?", "problem": "the answer is empty"},
        row | {"question_id": "elsewhere", "question": "Elsewhere?"},
    ]
    QUESTIONS.write(rows, tmp_path / "questions.parquet")
    stages = {"whole": "images", "broken": "tasks", "missing": "answers"}
    row = {"task": "QueryAttr", "model": None, "what": ""}
    lost = SKIPPED.frame(
        [row | {"question_id": name, "stage": stage, "reason": f"no {name}"} for name, stage in stages.items()]
    )
    others = SKIPPED.frame([row | {"question_id": "elsewhere", "stage": "tasks", "reason": NotDrawn.CANDIDATE.value}])
    before = lost.with_columns(task=pl.lit(None, dtype=pl.String), stage=pl.lit("questions"))
    texts = question_texts([tmp_path / "questions.parquet"] * 2, ["ChooseAttr", "QueryAttr"], [lost])
    model = replace(asked, questions=texts, skipped=pl.concat([lost, others, before]))
    dropped = model.listed.filter(state="dropped")
    assert set(dropped.select("question_id", "question", "reason").rows()) == {
        ("whole", "Whole?", "no whole"),
        ("broken", "Broken?", "no broken"),
        ("missing", None, "no missing"),
    }
    assert model.unlisted == model.index()["unlisted"] == 0


def test_of_very_many_dropped_questions_the_rest_is_counted():
    asked = explored_model(3)
    lost = pl.DataFrame({"question_id": [f"d{number}" for number in range(DROPPED + 7)], "reason": "no image"})
    lost = lost.with_columns(task=pl.lit("QueryAttr"), model=pl.lit(None), stage=pl.lit("images"), what=pl.lit(""))
    few = lost.head(5).with_columns(task=pl.lit("ChooseAttr"))
    model = replace(asked, skipped=SKIPPED.frame(pl.concat([lost, few])))
    assert model.listed.filter(state="dropped")["task"].value_counts(sort=True).rows() == [
        ("QueryAttr", DROPPED),
        ("ChooseAttr", 5),
    ]
    assert model.index()["unlisted"] == 7


def test_a_question_that_a_probe_left_out_says_so():
    asked = explored_model(3)
    row = {"question_id": "q00001", "task": "QueryAttr", "model": "model", "what": ""}
    rows = [
        row | {"stage": "flow", "reason": "no patch is related"},
        row | {"stage": "selected", "reason": "answered wrongly"},
        row | {"stage": "flow", "what": "image -> last", "reason": "empty"},
    ]
    model = replace(asked, skipped=SKIPPED.frame(rows))
    (part,) = model.parts()
    assert part[1]["skipped"] == ["flow: no patch is related", "flow: image -> last: empty"]


def test_a_script_is_ascii_and_holds_what_it_is_given():
    text = script("part", [{"a": EVIL, "b": "\u2028 ü"}], 1, 2)
    text.encode("ascii")
    assert received(text) == ["part", 1, 2, [{"a": EVIL, "b": "\u2028 ü"}]]


def test_names_in_the_page_are_text():
    page = explorer_page(EVIL, {EVIL: 3})
    assert EVIL not in page
    assert page.count("<script") == 1


def test_a_thousand_questions_are_within_12_mb(tmp_path):
    size = write_explorer(tmp_path, [explored_model(1000, detailed=200, with_words=24)], "")
    assert size < 12_000_000


def test_missing_layers_are_gaps_and_the_smallest_window_is_taken():
    about = {"task": "T", "question_id": "1", "edge": "e"}
    rows = pl.DataFrame(
        [
            about | {"layer": layer, "window": window, "change": -1.0 * layer * window}
            for layer in (1, 3)
            for window in (1, 9)
        ]
    )
    assert curves_of(curves(rows, ["e"])) == {("T", "1"): {"e": [1, [-1.0, None, -3.0]]}}
    assert curves_of(curves(None, ["e"])) == {}
    summary = rows.with_columns(model=pl.lit("m"), quantity=pl.lit("change"), mean=pl.col("change"), low=0.0, high=0.0)
    assert means([summary], "m", ["e"])["mean"].to_list() == [-1.0, -3.0]
    assert means([summary], "other", ["e"]).is_empty()
    assert len(chosen_edges([str(number) for number in range(40)])) == 12
