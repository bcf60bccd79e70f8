"""The reader of GQA's files, on entries as GQA has them and on broken ones."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.any_json import JSON
from vlmflow.data import dataset_from, scenes
from vlmflow.data.answers import is_correct
from vlmflow.data.entries import SAME_ID
from vlmflow.data.files import question_files
from vlmflow.data.gqa.reader import Question, derive_mentions, derive_options, read_questions
from vlmflow.data.sampling import select_task
from vlmflow.errors import DatasetError
from vlmflow.study import Task
from vlmflow.tables import QUESTIONS, SKIPPED


def step(operation, argument):
    return {"operation": operation, "argument": argument, "dependencies": []}


def entry(program, answer="x", structural="choose", image="1", question="what is it?"):
    types = {"structural": structural, "semantic": "attr", "detailed": "d"}
    return {"imageId": image, "question": question, "answer": answer, "types": types, "semantic": program}


@pytest.mark.parametrize(
    ("program", "answer", "options", "mentions"),
    [
        ([step("select", "jar (49)"), step("choose", "empty|full")], "full", ("full", "empty"), [("jar", ["49"])]),
        (
            [step("select", "shirt (1)"), step("choose color", "dark|light brown")],
            "light brown",
            ("light brown", "dark"),
            [("shirt", ["1"])],
        ),
        (
            [step("select", "board (4)"), step("choose rel", "surfer,to the right of|to the left of,s (8)")],
            "left",
            ("left", "right"),
            [("board", ["4"]), ("surfer", ["8"])],
        ),
        (
            [step("select", "trees (5)"), step("choose rel", "house,behind|in front of,s (6)")],
            "front",
            ("front", "behind"),
            [("trees", ["5"]), ("house", ["6"])],
        ),
        (
            [step("select", "furniture (3)"), step("filter pattern", "striped"), step("choose name", "bed|door")],
            "bed",
            ("bed", "door"),
            [("furniture", ["3"])],
        ),
        (
            [step("select", "mud (-) "), step("filter color", "not(brown)"), step("select", "grass (38) ")],
            "no",
            None,
            [("mud", []), ("grass", ["38"])],
        ),
        ([step("select", "chairs (3,4)"), step("query", "hposition")], "left", None, [("chairs", ["3", "4"])]),
        ([step("select", "jar (49)"), step("choose", "empty|full")], "blue", None, [("jar", ["49"])]),
    ],
)
def test_options_and_objects_from_programs(program, answer, options, mentions):
    question = Question.model_validate(entry(program, answer))
    assert derive_options(question) == options
    assert [(m.name, m.ids) for m in derive_mentions(question)] == mentions


ODD_SPACE = ["black", "Black", "black ", " black", "black\n", "\tBLACK\u00a0"]


@pytest.mark.parametrize("answer", ODD_SPACE)
@pytest.mark.parametrize(
    ("choice", "options"),
    [
        ("black|white", ("black", "white")),
        ("White|Black ", ("Black", "White")),
        (" light  grey| black", ("black", "light grey")),
    ],
)
def test_space_and_capitals_around_an_answer(folder, answer, choice, options):
    """What the model says is stripped and in lowercase; options keep their capitals, by which they are shown."""
    questions = {"a": entry([step("choose color", choice)], answer), "b": entry([], answer, "query")}
    (folder / "questions.json").write_text(json.dumps(questions))
    rows, skipped = read(folder)
    assert not skipped
    assert [(row["answer"], row["problem"]) for row in rows] == [("black", None)] * 2
    assert (rows[0]["true_option"], rows[0]["false_option"]) == options
    assert is_correct("Black", rows[1]["answer"])


def test_answers_in_other_forms(folder):
    accent, composed = "jalapen\u0303o", "jalape\u00f1o"
    programs = {
        "a": entry([step("choose name", f"{accent}|bean")], composed),
        "b": entry([step("choose rel", "cup,To the left of|to the right of,s (8)")], "Left"),
        "c": entry([], "traffic \n light", "query"),
        "d": entry([], " \n", "query"),
    }
    (folder / "questions.json").write_text(json.dumps(programs))
    rows, skipped = read(folder)
    assert [row["answer"] for row in rows] == [composed, "left", "traffic light"]
    assert (rows[0]["true_option"], rows[1]["true_option"]) == (accent, "left")
    assert [row["question_id"] for row in skipped] == ["d"]
    assert "answer: String should have at least 1 character" in skipped[0]["reason"]


@pytest.fixture
def folder(tmp_path):
    scenes.write_scenes(tmp_path, images=4, seed=0)
    return tmp_path


def read(folder):
    return read_questions(folder / "questions.json", folder / "sceneGraphs.json")


def test_drawn_scenes_are_read_back(folder):
    rows, skipped = read(folder)
    written = json.loads((folder / "questions.json").read_text())
    assert [row["question_id"] for row in rows] == list(written)
    assert not skipped
    assert not any(row["problem"] for row in rows)
    questions = QUESTIONS.frame(rows)
    for row in rows:
        scene = scenes.draw_scene(int(row["image_id"]), seed=0)
        boxes = {thing.id: (thing.x, thing.y, thing.side, thing.side) for thing in scene.things}
        attributes = {thing.id: [thing.color, thing.size, thing.texture] for thing in scene.things}
        for item in row["objects"]:
            if item["id"] is not None:
                assert (item["x"], item["y"], item["w"], item["h"]) == boxes[item["id"]]
            assert item["attributes"] == attributes.get(item["id"], [])
        if row["structural"] == "choose":
            assert row["true_option"] == row["answer"]
            assert row["false_option"] in row["question"]
    assert set(questions["structural"]) == {"choose", "compare", "logical", "query"}


def test_objects_without_attributes(folder):
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    for graph in graphs.values():
        for thing in graph["objects"].values():
            del thing["attributes"]
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs))
    rows, skipped = read(folder)
    assert not skipped
    objects = QUESTIONS.frame(rows)["objects"].explode().drop_nulls()
    assert objects.struct.field("attributes").to_list() == [[]] * len(objects)


def test_images_are_the_same_whatever_their_number(tmp_path):
    scenes.write_scenes(tmp_path / "few", images=2, seed=3)
    scenes.write_scenes(tmp_path / "many", images=5, seed=3)
    for name in ("0.png", "1.png"):
        assert (tmp_path / "few/images" / name).read_bytes() == (tmp_path / "many/images" / name).read_bytes()
    few, many = (json.loads((tmp_path / x / "questions.json").read_text()) for x in ("few", "many"))
    assert few.items() <= many.items()


def test_what_is_broken_is_told_and_the_rest_goes_on(folder):
    questions = json.loads((folder / "questions.json").read_text())
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    good = len(questions)
    program = [step("select", "jar (999)"), step("choose", "empty|full")]
    questions |= {
        "no-type": {"imageId": "1", "question": "?", "answer": "a", "semantic": []},
        "no-dict": 5,
        "no-graph": entry([], image="77", structural="query"),
        "no-object": entry(program, answer="full"),
        "no-options": entry([], structural="choose"),
        "bad-graph": entry([], image="3b", structural="query"),
    }
    graphs |= {"77b": {}, "3b": {"width": "wide", "height": 1, "objects": {}}}
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs))
    rows, skipped = read(folder)
    assert len(rows) + len(skipped) == len(questions)
    assert {row["question_id"]: row["reason"] for row in skipped}.keys() == {"no-type", "no-dict"}
    assert "types: Field required" in skipped[0]["reason"]
    problems = {row["question_id"]: row["problem"] for row in rows if row["problem"]}
    assert len(rows) - len(problems) == good
    assert "no scene graph for the image 77" in problems["no-graph"]
    assert "object 999 (jar) is not in the scene graph" in problems["no-object"]
    assert "must name two options" in problems["no-options"]
    assert "malformed scene graph of 3b: width" in problems["bad-graph"]
    SKIPPED.frame(skipped)
    table = QUESTIONS.frame(rows)
    usable, lost = select_task(table, "Query", Task(structural="query", semantic="attr"))
    assert set(lost["question_id"]) == {"no-graph", "bad-graph"}
    assert usable["question_id"].is_in(pl.Series(list(questions)).implode()).all()


def test_annotations_point_to_objects_where_the_program_does_not(folder):
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    (object_id, thing), *_ = graphs["1"]["objects"].items()
    silent = [step("select", "scene"), step("query", "place")]
    noted = entry(silent, structural="query") | {
        "annotations": {"question": {"3": object_id, "5:7": f"{object_id},404"}}
    }
    spoken = entry([step("select", f"thing ({object_id})")], structural="query") | {
        "annotations": {"question": {"3": "404"}}
    }
    odd = {
        f"odd-{i}": entry(silent, structural="query") | {"annotations": {"question": odd}}
        for i, odd in enumerate([7, []])
    }
    (folder / "questions.json").write_text(json.dumps({"noted": noted, "spoken": spoken, **odd}))
    rows = {row["question_id"]: row for row in read(folder)[0]}
    (found,) = rows["noted"]["objects"]
    assert (found["name"], found["id"], found["x"]) == (thing["name"], object_id, thing["x"])
    assert "the object 404 (404) is not in the scene graph" in rows["noted"]["problem"]
    assert [item["name"] for item in rows["spoken"]["objects"]] == ["thing"]
    assert rows["spoken"]["problem"] is None
    assert rows["odd-0"]["objects"] == rows["odd-1"]["objects"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "the file holds a list"), ("{", "this is not JSON"), (None, "there is no such file")],
)
def test_files_that_are_not_gqa(folder, content, message):
    path = folder / "questions.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=message) as error:
        read(folder)
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
def test_questions_as_they_are_given_out(folder, form):
    """A file, packed or not, a question a line, a folder of files: the same questions, as the workflow reads them."""
    rows, _ = read(folder)
    questions = json.loads((folder / "questions.json").read_text())
    graphs = folder / "sceneGraphs.json"
    place = write_as(folder, form, questions)
    assert isinstance(question_files(place), list) == place.is_dir()
    for way in (place, str(place)) if place.is_file() else (place, question_files(place)):
        files = {"questions": way, "scene_graphs": str(graphs)}
        found, skipped = dataset_from({"source": "gqa"}).read(files)
        assert sorted(found, key=lambda row: row["question_id"]) == sorted(rows, key=lambda row: row["question_id"])
        assert skipped == []


def test_a_folder_of_scene_graphs(folder):
    rows, _ = read(folder)
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    place = write_as(folder, "graphs", graphs)
    assert read_questions(folder / "questions.json", place) == (rows, [])


def test_what_other_programs_leave_in_a_folder_is_not_read(tmp_path):
    for name in ("b.json", "a.jsonl", "a.jsonl.gz", "c.json.gz", "._b.json", "readme.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [Path(file).name for file in question_files(tmp_path)] == ["a.jsonl", "b.json", "c.json.gz"]


def test_of_two_files_that_have_a_question_the_first_is_asked(folder):
    (folder / "all").mkdir()
    program = [step("select", "scene"), step("query", "place")]
    for name, answer in (("a.json", "first"), ("b.jsonl", "second")):
        (folder / "all" / name).write_text(json.dumps({"q": entry(program, answer, "query")}))
    rows, skipped = read_questions(folder / "all", folder / "sceneGraphs.json")
    assert [row["answer"] for row in rows] == ["first"]
    assert [(row["question_id"], row["reason"]) for row in skipped] == [("q", SAME_ID)]


def test_a_line_that_is_no_question_costs_itself(folder):
    program = [step("select", "scene"), step("query", "place")]
    lines = [json.dumps({"q": entry(program, structural="query")}), "{", "", '{"text": "what?"}', '{"id": 7}', "[]"]
    (folder / "q.jsonl").write_text("\n".join(lines))
    rows, skipped = read_questions(folder / "q.jsonl", folder / "sceneGraphs.json")
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
def test_forms_that_are_not_read(folder, name, content, message):
    path = folder / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        read_questions(path, folder / "sceneGraphs.json")
    assert str(path) in str(error.value)


FIELDS = ["imageId", "question", "answer", "types", "semantic", "fullAnswer"]


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=4), st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_any_json_is_accounted_for(tmp_path_factory, questions):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "sceneGraphs.json").write_text("{}")
    rows, skipped = read(folder)
    assert len(rows) + len(skipped) == len(questions)
