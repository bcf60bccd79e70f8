"""Questions without boxes: OK-VQA and A-OKVQA, in their layout and broken; and captions by Visual Genome's layout."""

import gzip
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmflow.data import scenes
from vlmflow.data.entries import SAME_ID
from vlmflow.data.gqa import read_questions
from vlmflow.data.reading import read_dataset
from vlmflow.data.region_descriptions import read_captions
from vlmflow.data.sampling import select_task
from vlmflow.data.spelling import plain
from vlmflow.data.vqa import majority, read_a_okvqa, read_ok_vqa
from vlmflow.errors import DatasetError
from vlmflow.study import Task
from vlmflow.tables import QUESTIONS, SKIPPED


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def ok_vqa(folder, questions, annotations):
    """The two files of OK-VQA."""
    entries = [{"image_id": 42, "question": f"What is {number}?", "question_id": number} for number in questions]
    given = [
        {
            "image_id": 42,
            "answer_type": "other",
            "question_type": "one",
            "question_id": number,
            "answers": [{"answer_id": 1, "raw_answer": a, "answer": a, "answer_confidence": "yes"} for a in all_],
        }
        for number, all_ in annotations.items()
    ]  # fmt: skip
    return write(folder / "q.json", {"questions": entries}), write(folder / "a.json", {"annotations": given})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["race", "motocross", "Race ", "ride"], "race"),
        (["b", "a", "a", "b"], "b"),  # as often as "a", but first
        (["", " ", "x"], "x"),
        (["cup", "Traffic  light", "traffic light ", "cup", "TRAFFIC LIGHT"], "traffic light"),
        (["jalapen\u0303o", "bean", "jalape\u00f1o", "bean", "Jalape\u00f1o"], "jalape\u00f1o"),
        ([""], None),
        ([], None),
    ],
)
def test_the_answer_is_the_majoritys(answers, expected):
    assert majority(answers) == expected


@given(st.lists(st.text(max_size=5), max_size=12))
def test_a_majority_is_one_of_the_answers(answers):
    found = majority(answers)
    cleaned = [plain(answer) for answer in answers]
    if found is None:
        assert not any(cleaned)
    else:
        assert cleaned.count(found) == max(cleaned.count(answer) for answer in cleaned if answer)


def test_ok_vqa(tmp_path):
    files = ok_vqa(tmp_path, [7, 8, 9], {7: ["pony tail", "pony tail", "braid"], 8: [""] * 10})
    rows, skipped = read_ok_vqa(*files)
    frame = QUESTIONS.frame(rows)
    assert frame["question_id"].to_list() == ["7", "8", "9"]
    assert frame.row(0, named=True) | {"objects": None} == {
        "question_id": "7",
        "image_id": "42",
        "width": None,
        "height": None,
        "question": "What is 7?",
        "answer": "pony tail",
        "full_answer": None,
        "structural": "query",
        "semantic": "global",
        "detailed": "one",
        "true_option": None,
        "false_option": None,
        "objects": None,
        "captions": None,
        "problem": None,
    }
    assert frame["problem"].to_list()[1:] == ["a.json has no answer to it"] * 2
    assert skipped == []
    # A task that is all of a dataset.
    usable, broken = select_task(frame, "OK-VQA", Task.model_validate({"dataset": {"source": "ok-vqa"}}))
    assert (len(usable), len(broken)) == (1, 2)


def test_a_okvqa(tmp_path):
    entry = {
        "split": "val",
        "image_id": 299207,
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": ["ride", "cab", "cab", "taxi"],
        "difficult_direct_answer": False,
        "rationales": [],
    }
    broken = [{"question_id": "x"}, entry | {"question_id": "z", "direct_answers": []}]
    rows, skipped = read_a_okvqa(
        write(
            tmp_path / "a.json", [entry, entry | {"question_id": "y", "difficult_direct_answer": True}, entry, *broken]
        )
    )
    frame = QUESTIONS.frame(rows)
    assert frame["answer"].to_list() == ["cab", "cab"]
    assert frame["problem"].to_list() == [None, "its authors mark it as too open for a direct answer"]
    account = {row["question_id"]: row["reason"] for row in SKIPPED.frame(skipped).to_dicts()}
    assert account[entry["question_id"]] == SAME_ID
    assert "image_id: Field required" in account["x"]
    assert "direct_answers" in account["z"]
    assert read_dataset("a-okvqa", {"questions": str(tmp_path / "a.json")}) == (rows, skipped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; expected a list of objects under 'questions'"),
        ("{", "this is no JSON"),
        ("[]", "this is not a list of objects under 'annotations'"),
        ('{"annotations": {}}', "this is not a list"),
        ('{"annotations": [], "annotations": []}', "the key 'annotations' stands there twice"),
    ],
)
def test_files_that_are_no_such_thing(tmp_path, content, message):
    questions, annotations = ok_vqa(tmp_path, [1], {})
    if content is None:
        questions.unlink()
    elif "annotations" in message or "annotations" in content:
        annotations.write_text(content)
    else:
        questions.write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_ok_vqa(questions, annotations)


@pytest.mark.parametrize("annotation", [{"question_id": 1}, {"question_id": 1, "answers": []}])
def test_a_malformed_annotation_costs_its_question_only(tmp_path, annotation):
    questions, annotations = ok_vqa(tmp_path, [1, 2], {2: ["x"]})
    content = json.loads(annotations.read_text())["annotations"]
    write(annotations, {"annotations": [annotation, *content]})
    rows, skipped = read_ok_vqa(questions, annotations)
    assert [row["question_id"] for row in rows] == ["2"]
    assert [entry["question_id"] for entry in skipped] == ["1"]
    assert "malformed entry: answers" in skipped[0]["reason"]


def test_several_annotations_of_one_question_cost_that_question(tmp_path):
    questions, annotations = ok_vqa(tmp_path, [1, 2], {1: ["x"], 2: ["y"]})
    content = json.loads(annotations.read_text())["annotations"]
    write(annotations, {"annotations": [*content, content[0], 3]})
    rows, skipped = read_ok_vqa(questions, annotations)
    assert {row["question_id"]: row["problem"] for row in rows} == {
        "1": "a.json has several annotations of it; keep the right one",
        "2": None,
    }
    assert skipped == []


REGIONS = [
    {"id": 1, "regions": [{"region_id": 5, "phrase": " a cup ", "x": -4}, {"phrase": "a table."}, {"phrase": "a cup"}]},
    {"id": 2, "regions": []},
    {"id": 3, "regions": [{"phrase": "<script>"}]},
]  # fmt: skip


def test_captions_are_region_descriptions(tmp_path):
    path = write(tmp_path / "regions.json", REGIONS)
    assert read_captions(path, {"1", "2", "9"}) == ({"1": "a cup. a table."}, {})
    # Of two entries for a picture none is lost; what nobody asks for may be malformed.
    again = [*REGIONS, {"id": 1, "regions": [{"phrase": "a dog"}, {"phrase": "a cup"}]}, {"id": 5, "regions": 3}]
    assert read_captions(write(path, again), {"1"}) == ({"1": "a cup. a table. a dog."}, {})


@pytest.mark.parametrize("name", ["r.json.gz", "r.jsonl", "r.jsonl.gz"])
def test_captions_packed_or_by_lines(tmp_path, name):
    text = "\n".join(map(json.dumps, REGIONS)) if "jsonl" in name else json.dumps(REGIONS)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert read_captions(tmp_path / name, {"1", "2", "9"}) == ({"1": "a cup. a table."}, {})


def test_one_malformed_description_costs_its_picture_only(tmp_path, capsys):
    path = write(tmp_path / "regions.json", [*REGIONS, {"id": 4, "regions": [{}]}, 7])
    texts, broken = read_captions(path, {"1", "4"})
    assert texts == {"1": "a cup. a table."}
    assert broken == {"4": "regions.json: entry 4 is no picture with regions: regions.0.phrase: Field required"}
    assert "entry 5 is no picture with regions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file; expected region descriptions"),
        ("[{", "this is no JSON"),
        ('[{"id": 1}]', "entry 1 is no picture with regions: regions"),
        ("[3]", "entry 1 is no picture with regions"),
    ],
)
def test_captions_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "regions.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_captions(path, {"1"})


def test_drawn_scenes_have_captions(tmp_path):
    scenes.write_scenes(tmp_path, images=3, seed=0)
    files = [tmp_path / name for name in ("questions.json", "sceneGraphs.json", "region_descriptions.json")]
    rows, _ = read_questions(*files)
    scene = scenes.draw_scene(1, 0)
    found = QUESTIONS.frame(rows).filter(pl.col("image_id") == "1")["captions"].unique().to_list()
    assert found == [". ".join(map(scenes.describe_thing, scene.things)) + "."]
    without, _ = read_questions(*files[:2])
    assert {row["captions"] for row in without} == {None}
    named = dict(zip(("questions", "scene_graphs", "regions"), map(str, files), strict=True))
    assert read_dataset("synthetic", named) == (rows, [])
