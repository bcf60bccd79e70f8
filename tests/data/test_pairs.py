"""Pictures to be described: COCO's captions and Winoground, in their layout and broken."""

import json
import zipfile
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.any_json import JSON
from support.scripts import run_script
from support.servers import serving
from vlmflow.data.entries import SAME_ID
from vlmflow.data.pairs import read_coco_captions, read_winoground
from vlmflow.data.reading import read_dataset
from vlmflow.data.sampling import select_task
from vlmflow.data.sources import COCO_CAPTIONS_MEMBER
from vlmflow.errors import DatasetError
from vlmflow.study import Task
from vlmflow.tables import QUESTIONS, SKIPPED

PROMPT = "Describe it."


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def caption(number, image, text="A cup."):
    return {"id": number, "image_id": image, "caption": text}


def coco(path, annotations, images=()):
    return write(path, {"info": {}, "licenses": [], "images": list(images), "annotations": annotations})


def picture(number, width=640):
    return {"id": number, "width": width, "height": 480, "file_name": f"{number:012d}.jpg", "license": 1}


def test_coco_captions(tmp_path):
    annotations = [caption(9, 42), caption(12, 7, "Seven\n"), caption(3, 42, "  A man Rides. "), caption(5, 42)]
    path = coco(tmp_path / "c.json", annotations, [picture(42), picture(7, "wide")])
    rows, skipped = read_coco_captions(path, PROMPT)
    assert skipped == []
    frame = QUESTIONS.frame(rows)
    assert frame.row(0, named=True) == {
        "question_id": "3",
        "image_id": "42",
        "width": 640,
        "height": 480,
        "question": PROMPT,
        "answer": "A man Rides.",
        "full_answer": None,
        "structural": "describe",
        "semantic": "caption",
        "detailed": "",
        "true_option": None,
        "false_option": None,
        "objects": [],
        "captions": None,
        "problem": None,
    }
    assert frame.select("question_id", "answer", "width").row(1) == ("12", "Seven", None)
    assert read_dataset("coco-captions", {"questions": str(path)}, PROMPT) == (rows, skipped)
    usable, broken = select_task(frame, "D", Task(structural="describe", semantic="caption"))
    assert (len(usable), len(broken)) == (2, 0)
    without = json.loads(path.read_text())
    del without["images"]
    assert [row["width"] for row in read_coco_captions(write(path, without), PROMPT)[0]] == [None, None]


def test_malformed_captions_cost_themselves_only(tmp_path):
    annotations = [
        caption(1, 42, "   "),
        {"id": 2, "caption": "x"},
        {"image_id": 3},
        caption("four", 42),
        caption(5, 42),
        caption(6, 43),
        caption(6, 44),
    ]
    rows, skipped = read_coco_captions(coco(tmp_path / "c.json", annotations), PROMPT)
    assert [(row["question_id"], row["image_id"]) for row in rows] == [("5", "42"), ("6", "43")]
    reasons = dict(SKIPPED.frame(skipped).select("question_id", "reason").rows())
    assert reasons.keys() == {"1", "2", "entry 3", "four", "6"}
    assert reasons["1"] == "malformed entry: caption: String should have at least 1 character"
    assert reasons["2"] == "malformed entry: image_id: Field required"
    assert reasons["6"] == SAME_ID


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"c\.json: there is no such file; expected a list of objects under 'annotations'"),
        ("{", r"c\.json: this is no JSON"),
        ("[]", "this is not a list of objects under 'annotations'"),
        ('{"annotations": {}}', "this is not a list of objects under 'annotations'"),
        ('{"annotations": [], "images": 3}', "this is not a list of objects under 'images'"),
    ],
)
def test_files_that_are_not_cocos(tmp_path, content, message):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_coco_captions(path, PROMPT)


ENTRY = st.dictionaries(st.sampled_from(["id", "image_id", "caption", "width", "height"]), JSON | st.integers())


@settings(max_examples=200)
@given(st.lists(ENTRY, max_size=5), st.lists(ENTRY, max_size=3))
def test_any_coco_entry_is_accounted_for(tmp_path_factory, annotations, images):
    rows, skipped = read_coco_captions(coco(tmp_path_factory.mktemp("fuzz") / "c.json", annotations, images), PROMPT)
    SKIPPED.frame(skipped)
    frame = QUESTIONS.frame(rows)
    assert frame["question_id"].is_unique().all()
    assert frame["image_id"].is_unique().all()
    # Of the captions of a picture one is taken, and what is no caption is skipped.
    assert len(rows) + len(skipped) <= len(annotations)
    assert (len(rows) + len(skipped) > 0) == bool(annotations)


# --- Winoground ---


def example(number, **changes):
    entry = {"id": number, "tag": "Noun", "collapsed_tag": "Object", "num_main_preds": 1}
    entry |= {f"image_{place}": f"ex_{number}_img_{place}" for place in range(2)}
    return entry | {"caption_0": " an Old person ", "caption_1": "a young\u2028person"} | changes


def winoground(folder, examples, **access):
    """(file of examples, file that says whether they could be fetched)."""
    lines = [json.dumps(entry, ensure_ascii=False) for entry in examples]
    (folder / "examples.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "examples.jsonl", write(folder / "access.json", {"granted": True, "reason": None} | access)


def test_winoground(tmp_path):
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
    assert read_dataset("winoground", named, PROMPT) == (rows, skipped)


def test_malformed_and_repeated_examples(tmp_path):
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
    assert SKIPPED.frame(skipped).rows() == [("winoground", None, None, "questions", "ask for access")]


@pytest.mark.parametrize(
    ("examples", "access", "message"),
    [
        (None, "{}", r"access\.json: this does not say whether Winoground could be fetched; delete it"),
        (None, "[1]", r"access\.json: this does not say whether"),
        (None, "{", r"access\.json: this is no JSON"),
        (
            "[1]\n[2]",
            None,
            r"examples\.jsonl: no line of this is JSON as expected: examples of Winoground, a JSON object",
        ),
        ('\n{"id": 1', None, r"examples\.jsonl: no line of this is JSON"),
        (b"\xff\xfe", None, r"examples\.jsonl: this is no text in UTF-8"),
    ],
)
def test_files_that_are_not_winogrounds(tmp_path, examples, access, message):
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


# --- the file of COCO's captions, from a server ---


def test_only_the_captions_of_cocos_archive_are_fetched(tmp_path):
    (tmp_path / "served").mkdir()
    content = json.dumps({"images": [], "annotations": [caption(1, 2)]})
    with zipfile.ZipFile(tmp_path / "served" / "annotations_trainval2017.zip", "w") as archive:
        archive.writestr("annotations/instances_train2017.json", "x" * 10**6)
        archive.writestr(COCO_CAPTIONS_MEMBER, content)
    path = tmp_path / "coco" / COCO_CAPTIONS_MEMBER
    with serving(tmp_path / "served") as server:
        members = [(f"{server.url}/annotations_trainval2017.zip", COCO_CAPTIONS_MEMBER)]
        where = {"output": [str(path)], "params": SimpleNamespace(members=members), "wildcards": {}}
        run_script("fetch_archived.py", tmp_path, **where)
        assert server.sent < 2 * 10**5
    assert path.read_text() == content
    rows, _ = read_coco_captions(path, PROMPT)
    assert QUESTIONS.frame(rows).select(pl.col("image_id")).rows() == [("2",)]
