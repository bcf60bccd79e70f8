"""Entries of GQA's files that are broken: each costs its question alone, and leaves a reason."""

import json

import polars as pl
import pytest

from support.scene_files import files_of, read_files
from vlmflow.errors import DatasetError


def test_a_question_with_the_id_of_another_is_skipped(scene_folder):
    questions, graphs = files_of(scene_folder)
    (name, first), (_, second), *_ = questions.items()
    text = json.dumps(questions)[:-1] + f', "{name}": {json.dumps(second)}}}'
    problems, skipped = read_files(scene_folder, text, graphs)
    assert set(problems) == set(questions)
    assert skipped == {name: "another question has this id; only the first one is asked"}
    assert pl.read_parquet(scene_folder / "q.parquet").row(0, named=True)["question"] == first["question"]


def test_questions_on_an_image_with_two_scene_graphs_have_a_problem(scene_folder):
    questions, graphs = files_of(scene_folder)
    text = json.dumps(graphs)[:-1] + f', "1": {json.dumps(graphs["2"])}}}'
    problems, skipped = read_files(scene_folder, questions, text)
    assert skipped == {}
    for name, entry in questions.items():
        told = "there are several scene graphs for the image 1; keep the right one" if entry["imageId"] == "1" else None
        assert problems[name] == told


BOX = '"x": 1, "y": 1, "w": 5, "h": 5'


@pytest.mark.parametrize(
    ("of_question", "of_graph", "reason"),
    [
        ('"answer": "a", "answer": "b"', BOX, "malformed entry: the key 'answer' is given twice; keep"),
        ('"answer": "a"', f'{BOX}, "x": 2', "objects.7: the key 'x' is given twice; keep the right one"),
        ('"answer": null', BOX, "malformed entry: answer: Input should be a valid string"),
        ('"answer": "\\ud800"', BOX, "malformed entry: answer: "),
        ('"answer": "a", "fullAnswer": "\\udfff"', BOX, "'\\\\udfff' holds half of a surrogate pair"),
        ('"answer": "a", "question": ""', BOX, "is given twice"),
        ('"answer": ' + "[" * 9999 + "]" * 9999, BOX, "malformed entry: answer: Input should be a valid string"),
        ('"answer": "a"', BOX.replace("5", "true", 1), "objects.7.w: Input should be a number, not true or false"),
        ('"answer": "a"', BOX.replace('"h": 5', '"tall": 5'), "scene graph of 1: objects.7.h: Field required"),
        ('"answer": "a"', BOX.replace("1", '"in_float32"', 1), "objects.7.x: Input should be a valid number"),
    ],
)  # fmt: skip
def test_a_malformed_entry_costs_itself_only(scene_folder, of_question, of_graph, reason):
    types = '"types": {"structural": "query", "semantic": "attr", "detailed": "d"}'
    program = '"semantic": [{"operation": "select", "argument": "jar (7)"}]'
    bad = f'"bad": {{"imageId": "1", "question": "What is it?", {types}, {program}, {of_question}}}'
    good = f'"good": {{"imageId": 2, "question": "What is it?", {types}, {program}, "answer": 5}}'
    graph = '"2": {"width": 9, "height": 9, "objects": {"7": {"name": "jar", %s}}}' % BOX  # noqa: UP031
    broken = '"1": {"width": 9, "height": 9, "objects": {"7": {"name": "jar", %s}}}' % of_graph  # noqa: UP031
    # A mark of its encoding may begin a file; ids and answers may be numbers.
    problems, skipped = read_files(scene_folder, f"\ufeff{{{bad}, {good}}}", f"{{{broken}, {graph}}}")
    assert problems["good"] is None
    assert reason in (problems | skipped)["bad"]
    assert set(problems) | set(skipped) == {"good", "bad"}


@pytest.mark.parametrize("size", ["0", "-5", "1e999", "NaN", "99999999999", "9" * 5000, '"in_float32"', "true"])
def test_an_image_without_a_valid_size_costs_its_questions_only(scene_folder, size):
    questions, graphs = files_of(scene_folder)
    del graphs["1"]
    text = json.dumps(graphs)[:-1] + f', "1": {{"width": {size}, "height": 9}}}}'
    problems, _ = read_files(scene_folder, questions, text)
    told = {problems[name] for name, entry in questions.items() if entry["imageId"] == "1"}
    assert all(text.startswith("malformed scene graph of 1: width: Input should be") for text in told)
    assert len([text for text in problems.values() if text is None]) > 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no JSON"),
        (b'{"a": {"imageId"', "this is no JSON"),
        (b"[1]", "expected a JSON object, questions by id, but it holds a list"),
        ('{"a": 1}'.encode("utf-16"), "this is no text in UTF-8"),
        (b'{"a\0": 1}', "this is no JSON"),
        (b"[" * 99999, "this is no JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named(scene_folder, content, message):
    with pytest.raises(DatasetError, match=message) as error:
        read_files(scene_folder, content, {})
    assert str(error.value).startswith(f"{scene_folder}/questions.json: ")


@pytest.mark.parametrize("spaces", ["a" + " " * 300_000 + "x", "a,(" + "1 " * 300_000, "a " * 300_000 + "("])
def test_long_arguments_of_programs_are_read_quickly(scene_folder, spaces):
    questions, graphs = files_of(scene_folder)
    name, entry = next(iter(questions.items()))
    entry["semantic"][0]["argument"] = spaces
    problems, _ = read_files(scene_folder, {name: entry}, graphs)
    assert list(problems) == [name]
