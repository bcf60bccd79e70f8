"""Winoground's examples, in their layout and broken."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.any_json import JSON
from vlmflow.data.entries import SAME_ID
from vlmflow.data.winoground import WinogroundDataset, read_winoground
from vlmflow.errors import DatasetError
from vlmflow.tables import QUESTIONS, SKIPPED

PROMPT = "Describe it."


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def example(number, **changes):
    entry = {"id": number, "tag": "Noun", "collapsed_tag": "Object", "num_main_preds": 1}
    entry |= {f"image_{place}": f"ex_{number}_img_{place}" for place in range(2)}
    return entry | {"caption_0": " an Old person ", "caption_1": "a young\u2028person"} | changes


def winoground(folder, examples, **access):
    """(file of examples, file that says whether they could be fetched)."""
    lines = [json.dumps(entry, ensure_ascii=False) for entry in examples]
    (folder / "examples.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "examples.jsonl", write(folder / "access.json", {"granted": True, "reason": None} | access)


def test_examples_of_winoground_are_read(tmp_path):
    files = winoground(tmp_path, [example(0), example(7)])
    rows, skipped = read_winoground(*files, PROMPT)
    assert skipped == []
    frame = QUESTIONS.frame(rows)
    assert frame["question_id"].to_list() == ["0-0", "0-1", "7-0", "7-1"]
    assert frame["image_id"].to_list() == ["ex_0_img_0", "ex_0_img_1", "ex_7_img_0", "ex_7_img_1"]
    assert frame["answer"].to_list() == ["an Old person", "a young\u2028person"] * 2
    assert set(frame.select("question", "structural", "semantic", "detailed").rows()) == {
        (PROMPT, "describe", "caption", "")
    }
    named = dict(zip(("questions", "access"), map(str, files), strict=True))
    described = WinogroundDataset(source="winoground", prompt=PROMPT)
    assert described.read(named) == (rows, skipped)


def test_malformed_and_repeated_examples_are_skipped(tmp_path):
    examples = [example(1, caption_1=""), example(2), {"id": 3}, example(2, caption_0="another"), {}]
    rows, skipped = read_winoground(*winoground(tmp_path, examples), PROMPT)
    assert [row["question_id"] for row in rows] == ["2-0", "2-1"]
    assert rows[0]["answer"] == "an Old person"
    reasons = SKIPPED.frame(skipped).select("question_id", "reason").rows()
    assert reasons == [
        ("1", "malformed entry: caption_1: String should have at least 1 character"),
        ("3", "malformed entry: image_0: Field required"),
        ("line 5", "malformed entry: id: Field required"),
        ("2-0", SAME_ID),
        ("2-1", SAME_ID),
    ]


def test_without_access_there_is_no_question_but_a_reason(tmp_path):
    rows, skipped = read_winoground(*winoground(tmp_path, [], granted=False, reason="ask for access"), PROMPT)
    assert rows == []
    assert SKIPPED.frame(skipped).rows() == [("winoground", None, None, "questions", "", "ask for access")]


@pytest.mark.parametrize(
    ("examples", "access", "message"),
    [
        (None, "{}", r"access\.json: this does not say whether Winoground could be fetched; delete it"),
        (None, "[1]", r"access\.json: this does not say whether"),
        (None, "{", r"access\.json: this is no JSON"),
        (
            "[1]\n[2]",
            None,
            r"examples\.jsonl: no line of this is JSON as expected: examples of Winoground, one JSON object",
        ),
        ('\n{"id": 1', None, r"examples\.jsonl: no line of this is JSON"),
        (b"\xff\xfe", None, r"examples\.jsonl: this is no text in UTF-8"),
    ],
)
def test_files_that_are_not_winogrounds_are_refused(tmp_path, examples, access, message):
    files = winoground(tmp_path, [example(0)])
    for file, content in zip(files, (examples, access), strict=True):
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message):
        read_winoground(*files, PROMPT)


def test_a_broken_line_costs_itself_only(tmp_path):
    files = winoground(tmp_path, [example(1), example(2)])
    files[0].write_text(files[0].read_text() + '{"id": 3,\n[4]\n')
    rows, skipped = read_winoground(*files, PROMPT)
    assert [row["question_id"] for row in rows] == ["1-0", "1-1", "2-0", "2-1"]
    assert [entry["question_id"] for entry in skipped] == ["line 3", "line 4"]
    assert skipped[0]["reason"].startswith("this is no JSON (")


FIELDS = ["id", "image_0", "image_1", "caption_0", "caption_1", "tag"]


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | st.text(min_size=1)), max_size=4))
def test_any_example_is_accounted_for(tmp_path_factory, examples):
    rows, skipped = read_winoground(*winoground(tmp_path_factory.mktemp("fuzz"), examples), PROMPT)
    SKIPPED.frame(skipped)
    assert QUESTIONS.frame(rows)["question_id"].is_unique().all()
    lost = [entry for entry in skipped if entry["reason"] == SAME_ID]
    assert (len(rows) + len(lost)) / 2 + len(skipped) - len(lost) == len(examples)
