"""GQA's files in all forms in which they are given out: packed, a question a line, folders; and those not read."""

import gzip
import json
from pathlib import Path

import pytest

from support.gqa_entries import entry, step
from support.scene_files import rows_of
from vlmflow.data import dataset_from
from vlmflow.data.entries import SAME_ID
from vlmflow.data.gqa.reader import read_questions
from vlmflow.data.published_files import question_files
from vlmflow.errors import DatasetError


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "the file holds a list"), ("{", "this is not JSON"), (None, "there is no such file")],
)
def test_files_that_are_not_gqa_are_refused(scene_folder, content, message):
    path = scene_folder / "questions.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=message) as error:
        rows_of(scene_folder)
    assert str(path) in str(error.value)


def write_as(folder, form, content):
    """What a file of GQA holds, in another form: the place that is read."""
    text = json.dumps(content)
    lines = "\n".join(json.dumps({key: entry}) for key, entry in content.items())
    own = "\n".join(json.dumps(entry | {"question_id": key}) for key, entry in content.items())
    texts = {"q.json": text, "q.json.gz": text, "q.jsonl": lines, "q.JSONL.gz": own}
    if form in texts:
        packed = form.endswith(".gz")
        (folder / form).write_bytes(gzip.compress(texts[form].encode()) if packed else texts[form].encode())
        return folder / form
    (folder / form).mkdir()
    keys = sorted(content)
    parts = [keys[::2], keys[1::2]]
    (folder / form / "b.json").write_text(json.dumps({key: content[key] for key in parts[1]}))
    (folder / form / "a.json.gz").write_bytes(
        gzip.compress(json.dumps({key: content[key] for key in parts[0]}).encode())
    )
    (folder / form / "read me.txt").write_text("no question")
    return folder / form


@pytest.mark.parametrize("form", ["q.json", "q.json.gz", "q.jsonl", "q.JSONL.gz", "all_questions"])
def test_all_published_forms_of_files_hold_the_same_questions(scene_folder, form):
    """A file, packed or not, a question a line, a folder of files: the same questions, as the workflow reads them."""
    rows, _ = rows_of(scene_folder)
    questions = json.loads((scene_folder / "questions.json").read_text())
    graphs = scene_folder / "sceneGraphs.json"
    place = write_as(scene_folder, form, questions)
    assert isinstance(question_files(place), list) == place.is_dir()
    for way in (place, str(place)) if place.is_file() else (place, question_files(place)):
        files = {"questions": way, "scene_graphs": str(graphs)}
        found, skipped = dataset_from({"source": "gqa"}).read(files)
        assert sorted(found, key=lambda row: row["question_id"]) == sorted(rows, key=lambda row: row["question_id"])
        assert skipped == []


def test_scene_graphs_may_be_a_folder(scene_folder):
    rows, _ = rows_of(scene_folder)
    graphs = json.loads((scene_folder / "sceneGraphs.json").read_text())
    place = write_as(scene_folder, "graphs", graphs)
    assert read_questions(scene_folder / "questions.json", place) == (rows, [])


def test_what_other_programs_leave_in_a_folder_is_not_read(tmp_path):
    for name in ("b.json", "a.jsonl", "a.jsonl.gz", "c.json.gz", "._b.json", "readme.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [Path(file).name for file in question_files(tmp_path)] == ["a.jsonl", "b.json", "c.json.gz"]


def test_a_question_in_two_files_is_read_from_the_first(scene_folder):
    (scene_folder / "all").mkdir()
    program = [step("select", "scene"), step("query", "place")]
    for name, answer in (("a.json", "first"), ("b.jsonl", "second")):
        (scene_folder / "all" / name).write_text(json.dumps({"q": entry(program, answer, "query")}))
    rows, skipped = read_questions(scene_folder / "all", scene_folder / "sceneGraphs.json")
    assert [row["answer"] for row in rows] == ["first"]
    assert [(row["question_id"], row["reason"]) for row in skipped] == [("q", SAME_ID)]


def test_a_line_that_is_no_question_costs_itself(scene_folder):
    program = [step("select", "scene"), step("query", "place")]
    lines = [json.dumps({"q": entry(program, structural="query")}), "{", "", '{"text": "what?"}', '{"id": 7}', "[]"]
    (scene_folder / "q.jsonl").write_text("\n".join(lines))
    rows, skipped = read_questions(scene_folder / "q.jsonl", scene_folder / "sceneGraphs.json")
    assert [row["question_id"] for row in rows] == ["q"]
    assert [row["question_id"] for row in skipped] == ["q.jsonl, line 2", "q.jsonl, line 4", "7", "q.jsonl, line 6"]
    assert "this is not JSON (" in skipped[0]["reason"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.zip", b"PK", "this is an archive; unpack it, and give the unpacked file; expected questions by id"),
        ("q.tar.gz", b"", "this is an archive; unpack it"),
        ("q.json.gz", b"{}", r"this is not a complete \.gz file \(Not a gzipped file"),
        (
            "q.json.gz",
            gzip.compress(b"x" * 9999, mtime=0)[:-9],
            r"this is not a complete \.gz file \(Compressed file ended",
        ),
        (
            "q.jsonl",
            b"[]\nhello",
            "no line of this file is JSON as expected: questions by id, one JSON object per line",
        ),
        ("q.jsonl", b"\xff\n", "this is not text in UTF-8"),
        ("folder", None, "this folder holds no files that end with .json or .jsonl"),
    ],
)
def test_other_forms_of_files_are_refused(scene_folder, name, content, message):
    path = scene_folder / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        read_questions(path, scene_folder / "sceneGraphs.json")
    assert str(path) in str(error.value)
