"""GQA's entries become questions: options and objects from programs, answers, boxes, and what is broken."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.any_json import JSON
from support.gqa_entries import entry, step
from support.scene_files import rows_of
from vlmflow.data import scenes
from vlmflow.data.answers import is_correct
from vlmflow.data.gqa.reader import Question, derive_mentions, derive_options
from vlmflow.data.sampling import usable_questions
from vlmflow.study import Task
from vlmflow.tables import QUESTIONS, SKIPPED


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
def test_space_and_capitals_of_an_answer_do_not_matter(scene_folder, answer, choice, options):
    """What the model says is stripped and in lowercase; options keep their capitals, by which they are shown."""
    questions = {"a": entry([step("choose color", choice)], answer), "b": entry([], answer, "query")}
    (scene_folder / "questions.json").write_text(json.dumps(questions))
    rows, skipped = rows_of(scene_folder)
    assert not skipped
    assert [(row["answer"], row["problem"]) for row in rows] == [("black", None)] * 2
    assert (rows[0]["true_option"], rows[0]["false_option"]) == options
    assert is_correct("Black", rows[1]["answer"])


def test_answers_are_normalised(scene_folder):
    accent, composed = "jalapen\u0303o", "jalape\u00f1o"
    programs = {
        "a": entry([step("choose name", f"{accent}|bean")], composed),
        "b": entry([step("choose rel", "cup,To the left of|to the right of,s (8)")], "Left"),
        "c": entry([], "traffic \n light", "query"),
        "d": entry([], " \n", "query"),
    }
    (scene_folder / "questions.json").write_text(json.dumps(programs))
    rows, skipped = rows_of(scene_folder)
    assert [row["answer"] for row in rows] == [composed, "left", "traffic light"]
    assert (rows[0]["true_option"], rows[1]["true_option"]) == (accent, "left")
    assert [row["question_id"] for row in skipped] == ["d"]
    assert "answer: String should have at least 1 character" in skipped[0]["reason"]


def test_drawn_scenes_are_read_back(scene_folder):
    rows, skipped = rows_of(scene_folder)
    written = json.loads((scene_folder / "questions.json").read_text())
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


def test_objects_may_lack_attributes(scene_folder):
    graphs = json.loads((scene_folder / "sceneGraphs.json").read_text())
    for graph in graphs.values():
        for thing in graph["objects"].values():
            del thing["attributes"]
    (scene_folder / "sceneGraphs.json").write_text(json.dumps(graphs))
    rows, skipped = rows_of(scene_folder)
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


def test_a_broken_entry_costs_itself_only(scene_folder):
    questions = json.loads((scene_folder / "questions.json").read_text())
    graphs = json.loads((scene_folder / "sceneGraphs.json").read_text())
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
    (scene_folder / "questions.json").write_text(json.dumps(questions))
    (scene_folder / "sceneGraphs.json").write_text(json.dumps(graphs))
    rows, skipped = rows_of(scene_folder)
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
    usable, lost = usable_questions(table, "Query", Task(structural="query", semantic="attr"))
    assert set(lost["question_id"]) == {"no-graph", "bad-graph"}
    assert usable["question_id"].is_in(pl.Series(list(questions)).implode()).all()


def test_annotations_point_to_objects_where_the_program_does_not(scene_folder):
    graphs = json.loads((scene_folder / "sceneGraphs.json").read_text())
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
    (scene_folder / "questions.json").write_text(json.dumps({"noted": noted, "spoken": spoken, **odd}))
    rows = {row["question_id"]: row for row in rows_of(scene_folder)[0]}
    (found,) = rows["noted"]["objects"]
    assert (found["name"], found["id"], found["x"]) == (thing["name"], object_id, thing["x"])
    assert "the object 404 (404) is not in the scene graph" in rows["noted"]["problem"]
    assert [item["name"] for item in rows["spoken"]["objects"]] == ["thing"]
    assert rows["spoken"]["problem"] is None
    assert rows["odd-0"]["objects"] == rows["odd-1"]["objects"] == []


FIELDS = ["imageId", "question", "answer", "types", "semantic", "fullAnswer"]


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=4), st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_any_json_is_accounted_for(tmp_path_factory, questions):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "sceneGraphs.json").write_text("{}")
    rows, skipped = rows_of(folder)
    assert len(rows) + len(skipped) == len(questions)
