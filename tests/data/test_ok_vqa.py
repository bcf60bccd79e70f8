"""OK-VQA, in its layout and broken; and what most people answered."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmflow.data.answer_match import plain
from vlmflow.data.ok_vqa import MEMBERS, OkVqaDataset, read_ok_vqa
from vlmflow.data.open_questions import majority
from vlmflow.data.sampling import usable_questions
from vlmflow.data.tasks import Task
from vlmflow.errors import DatasetError
from vlmflow.tables import QUESTIONS


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


def test_questions_of_ok_vqa_are_read(tmp_path):
    files = ok_vqa(tmp_path, [7, 8, 9], {7: ["pony tail", "pony tail", "braid"], 8: [""] * 10})
    rows, skipped = OkVqaDataset(source="ok-vqa").read(dict(zip(MEMBERS, files, strict=True)))
    assert (rows, skipped) == read_ok_vqa(*files)
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
    assert frame["problem"].to_list()[1:] == ["a.json has no answer to this question"] * 2
    assert skipped == []
    # A task that is all of a dataset.
    usable, broken = usable_questions(frame, "OK-VQA", Task.model_validate({"dataset": {"source": "ok-vqa"}}))
    assert (len(usable), len(broken)) == (1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; expected a list of objects under 'questions'"),
        ("{", "this is not JSON"),
        ("[]", "this is not a list of objects under 'annotations'"),
        ('{"annotations": {}}', "this is not a list"),
        ('{"annotations": [], "annotations": []}', "the key 'annotations' is given twice"),
    ],
)
def test_files_that_are_not_ok_vqas_are_refused(tmp_path, content, message):
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
        "1": "a.json has several annotations of this question; keep the correct one",
        "2": None,
    }
    assert skipped == []
