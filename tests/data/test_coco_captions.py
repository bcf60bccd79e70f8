"""COCO's captions, in their layout and broken, and fetched from a server."""

import json
import zipfile

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.any_json import JSON
from support.servers import serving
from vlmflow.data.coco_captions import MEMBER, CocoCaptionsDataset, read_coco_captions
from vlmflow.data.entries import SAME_ID
from vlmflow.data.fetch.download import download
from vlmflow.data.sampling import usable_questions
from vlmflow.data.tasks import Task
from vlmflow.errors import DatasetError
from vlmflow.tables import QUESTIONS, SKIPPED

PROMPT = "Describe it."


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def caption(number, image, text="A cup."):
    return {"id": number, "image_id": image, "caption": text}


def coco(path, annotations, images=()):
    return write(path, {"info": {}, "licenses": [], "images": list(images), "annotations": annotations})


def image(number, width=640):
    return {"id": number, "width": width, "height": 480, "file_name": f"{number:012d}.jpg", "license": 1}


def test_captions_of_coco_are_read(tmp_path):
    annotations = [caption(9, 42), caption(12, 7, "Seven\n"), caption(3, 42, "  A man Rides. "), caption(5, 42)]
    path = coco(tmp_path / "c.json", annotations, [image(42), image(7, "wide")])
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
    described = CocoCaptionsDataset(source="coco-captions", prompt=PROMPT)
    assert described.read({"questions": str(path)}) == (rows, skipped)
    usable, broken = usable_questions(frame, "D", Task(structural="describe", semantic="caption"))
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
        ("{", r"c\.json: this is not JSON"),
        ("[]", "this is not a list of objects under 'annotations'"),
        ('{"annotations": {}}', "this is not a list of objects under 'annotations'"),
        ('{"annotations": [], "images": 3}', "this is not a list of objects under 'images'"),
    ],
)
def test_files_that_are_not_cocos_are_refused(tmp_path, content, message):
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
    # Of the captions of an image one is taken, and what is no caption is skipped.
    assert len(rows) + len(skipped) <= len(annotations)
    assert (len(rows) + len(skipped) > 0) == bool(annotations)


def test_only_the_captions_of_cocos_archive_are_fetched(tmp_path):
    (tmp_path / "served").mkdir()
    content = json.dumps({"images": [], "annotations": [caption(1, 2)]})
    with zipfile.ZipFile(tmp_path / "served" / "annotations_trainval2017.zip", "w") as archive:
        archive.writestr("annotations/instances_train2017.json", "x" * 10**6)
        archive.writestr(MEMBER, content)
    path = tmp_path / "coco" / MEMBER
    with serving(tmp_path / "served") as server:
        dataset = CocoCaptionsDataset(source="coco-captions", url=f"{server.url}/annotations_trainval2017.zip")
        ((_, source),) = dataset.downloads().items()
        download(source, path)
        assert server.sent < 2 * 10**5
    assert path.read_text() == content
    rows, _ = read_coco_captions(path, PROMPT)
    assert QUESTIONS.frame(rows).select(pl.col("image_id")).rows() == [("2",)]
