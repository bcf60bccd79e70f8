"""POPE, in its layout and broken."""

import json
from pathlib import Path

import pytest

from vlmflow.data import dataset_from
from vlmflow.data.pope import SPLITS
from vlmflow.data.sampling import usable_questions
from vlmflow.data.tasks import Task
from vlmflow.errors import DatasetError
from vlmflow.tables import QUESTIONS

ASKED = [
    (1, 310196, "Is there a snowboard in the image?", "yes"),
    (2, 310196, "Is there an orange in the imange?", "no"),
    (3, 42, "Do you see a dog?", "no"),
]
LINES = [
    {"question_id": number, "image": f"COCO_val2014_{image:012d}.jpg", "text": text, "label": label}
    for number, image, text, label in ASKED
]


def pope(folder, **lines):
    files = {split: folder / f"{split}.json" for split in SPLITS}
    for split, path in files.items():
        given = lines.get(split, LINES)
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in given))
    return {split: str(path) for split, path in files.items()}


def test_questions_of_three_splits(tmp_path):
    rows, skipped = dataset_from({"source": "pope"}).read(pope(tmp_path))
    assert skipped == []
    frame = QUESTIONS.frame(rows)
    assert frame["question_id"].to_list() == [f"{split}-{number}" for split in SPLITS for number in (1, 2, 3)]
    assert frame["image_id"].to_list()[:3] == ["310196", "310196", "42"]
    assert frame["answer"].to_list()[:3] == ["yes", "no", "no"]
    assert frame.select("structural", "semantic").unique().rows() == [("verify", "obj")]
    assert [each["objects"][0]["name"] if each["objects"] else None for each in rows[:3]] == [
        "snowboard",
        "orange",
        None,
    ]
    assert all(each["objects"][0]["x"] is None for each in rows if each["objects"])
    task = Task.model_validate({"dataset": {"source": "pope"}, "detailed": ["popular"]})
    usable, broken = usable_questions(frame, "T", task)
    assert (usable["question_id"].to_list(), len(broken)) == (["popular-1", "popular-2", "popular-3"], 0)


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        ({**LINES[0], "label": "maybe"}, "random-1", "label"),
        ({**LINES[0], "image": "dog.jpg"}, "random-1", "not the name of an image of COCO 2014"),
        ({**LINES[0], "text": ""}, "random-1", "text"),
        ({key: value for key, value in LINES[0].items() if key != "question_id"}, "random, line 1", "question_id"),
        ("{", "random, line 1", "malformed"),
        ("[1]", "random, line 1", "malformed"),
    ],
)
def test_a_malformed_line_costs_itself_only(tmp_path, line, name, reason):
    rows, skipped = dataset_from({"source": "pope"}).read(pope(tmp_path, random=[line, *LINES[1:]]))
    assert len(rows) == 8
    (left,) = skipped
    assert left["question_id"] == name
    assert reason in left["reason"]


def test_a_question_that_is_there_twice_is_asked_once(tmp_path):
    rows, skipped = dataset_from({"source": "pope"}).read(pope(tmp_path, popular=[LINES[0], LINES[0]]))
    assert [row["question_id"] for row in rows].count("popular-1") == 1
    assert [row["question_id"] for row in skipped] == ["popular-1"]


def test_files_that_are_not_popes_are_refused(tmp_path):
    files = pope(tmp_path, adversarial=["nothing"])
    with pytest.raises(DatasetError, match="one question of POPE per line"):
        dataset_from({"source": "pope"}).read(files)
    Path(files["adversarial"]).unlink()
    with pytest.raises(DatasetError, match="there is no such file"):
        dataset_from({"source": "pope"}).read(files)


def test_images_and_files_have_addresses():
    dataset = dataset_from({"source": "pope", "base_url": "https://mirror.example/pope"})
    assert {each.url for each in dataset.downloads().values()} == {
        f"https://mirror.example/pope/coco_pope_{split}.json" for split in SPLITS
    }
    assert set(dataset.files().values()) == set(dataset.downloads())
    images = dataset.image_source()
    assert images.name.format(number=42) == "val2014/COCO_val2014_000000000042.jpg"
