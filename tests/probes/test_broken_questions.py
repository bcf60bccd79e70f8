"""What can go wrong with a question: each case costs that question, or its patches, alone, and leaves a reason."""

import io
import json
import resource
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from support.paths import TINY_LLAVA
from vlmflow.data import scenes
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.data.gqa.reader import read_questions
from vlmflow.data.open_image import LONGEST, LONGEST_TO_SHORTEST, open_image
from vlmflow.data.sampling import select_task
from vlmflow.errors import DatasetError, QuestionError
from vlmflow.jobs.job import for_each_question
from vlmflow.models.processor import load_processor
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.answer import answer_question
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.prompts.patch_row import patch_row
from vlmflow.report.tables import task_row, tasks_page
from vlmflow.study import Task
from vlmflow.tables import CANDIDATES, PATCHES, QUESTIONS, SKIPPED, TASK


@pytest.fixture
def folder(tmp_path):
    scenes.write_scenes(tmp_path, images=3, seed=0)
    return tmp_path


@pytest.fixture(scope="module")
def processor():
    return load_processor(TINY_LLAVA)


def files(folder):
    """(questions, scene graphs) as they are written."""
    return [json.loads((folder / name).read_text()) for name in ("questions.json", "sceneGraphs.json")]


def read(folder, questions, graphs):
    """(problem by question id, skipped reasons by question id) of files in GQA's layout, given as text or objects."""
    for name, content in (("questions.json", questions), ("sceneGraphs.json", graphs)):
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    rows, skipped = read_questions(folder / "questions.json", folder / "sceneGraphs.json")
    QUESTIONS.write(rows, folder / "q.parquet")
    SKIPPED.write(skipped, folder / "s.parquet")
    skipped = SKIPPED.read(folder / "s.parquet")
    problems = dict(QUESTIONS.read(folder / "q.parquet").select("question_id", "problem").rows())
    return problems, dict(skipped.select("question_id", "reason").rows())


# --- entries ---


def test_of_two_questions_with_one_id_none_is_hidden(folder):
    questions, graphs = files(folder)
    (name, first), (_, second), *_ = questions.items()
    text = json.dumps(questions)[:-1] + f', "{name}": {json.dumps(second)}}}'
    problems, skipped = read(folder, text, graphs)
    assert set(problems) == set(questions)
    assert skipped == {name: "another question has this id; only the first one is asked"}
    assert pl.read_parquet(folder / "q.parquet").row(0, named=True)["question"] == first["question"]


def test_an_image_with_two_scene_graphs_is_not_trusted(folder):
    questions, graphs = files(folder)
    text = json.dumps(graphs)[:-1] + f', "1": {json.dumps(graphs["2"])}}}'
    problems, skipped = read(folder, questions, text)
    assert skipped == {}
    for name, entry in questions.items():
        told = (
            "there are several scene graphs for the image 1; keep the correct one" if entry["imageId"] == "1" else None
        )
        assert problems[name] == told


BOX = '"x": 1, "y": 1, "w": 5, "h": 5'


@pytest.mark.parametrize(
    ("of_question", "of_graph", "reason"),
    [
        ('"answer": "a", "answer": "b"', BOX, "malformed entry: the key 'answer' is given twice; keep"),
        ('"answer": "a"', f'{BOX}, "x": 2', "objects.7: the key 'x' is given twice; keep the correct one"),
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
def test_a_malformed_entry_costs_itself_only(folder, of_question, of_graph, reason):
    types = '"types": {"structural": "query", "semantic": "attr", "detailed": "d"}'
    program = '"semantic": [{"operation": "select", "argument": "jar (7)"}]'
    bad = f'"bad": {{"imageId": "1", "question": "What is it?", {types}, {program}, {of_question}}}'
    good = f'"good": {{"imageId": 2, "question": "What is it?", {types}, {program}, "answer": 5}}'
    graph = '"2": {"width": 9, "height": 9, "objects": {"7": {"name": "jar", %s}}}' % BOX  # noqa: UP031
    broken = '"1": {"width": 9, "height": 9, "objects": {"7": {"name": "jar", %s}}}' % of_graph  # noqa: UP031
    # A mark of its encoding may begin a file; ids and answers may be numbers.
    problems, skipped = read(folder, f"\ufeff{{{bad}, {good}}}", f"{{{broken}, {graph}}}")
    assert problems["good"] is None
    assert reason in (problems | skipped)["bad"]
    assert set(problems) | set(skipped) == {"good", "bad"}


@pytest.mark.parametrize("size", ["0", "-5", "1e999", "NaN", "99999999999", "9" * 5000, '"in_float32"', "true"])
def test_images_of_no_size(folder, size):
    questions, graphs = files(folder)
    del graphs["1"]
    text = json.dumps(graphs)[:-1] + f', "1": {{"width": {size}, "height": 9}}}}'
    problems, _ = read(folder, questions, text)
    told = {problems[name] for name, entry in questions.items() if entry["imageId"] == "1"}
    assert all(text.startswith("malformed scene graph of 1: width: Input should be") for text in told)
    assert len([text for text in problems.values() if text is None]) > 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is not JSON"),
        (b'{"a": {"imageId"', "this is not JSON"),
        (b"[1]", r"expected a JSON object \(questions by id\), but the file holds a list"),
        ('{"a": 1}'.encode("utf-16"), "this is not text in UTF-8"),
        (b'{"a\0": 1}', "this is not JSON"),
        (b"[" * 99999, "this is not JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named(folder, content, message):
    with pytest.raises(DatasetError, match=message) as error:
        read(folder, content, {})
    assert str(error.value).startswith(f"{folder}/questions.json: ")


@pytest.mark.parametrize("spaces", ["a" + " " * 300_000 + "x", "a,(" + "1 " * 300_000, "a " * 300_000 + "("])
def test_an_argument_of_a_program_takes_no_hours(folder, spaces):
    questions, graphs = files(folder)
    name, entry = next(iter(questions.items()))
    entry["semantic"][0]["argument"] = spaces
    problems, _ = read(folder, {name: entry}, graphs)
    assert list(problems) == [name]


# --- boxes ---


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((200, 10, 5, 5), "lies outside of the image, which has 96 × 96 pixels"),
        ((10, -20, 5, 5), "lies outside of the image"),
        ((96, 10, 5, 5), "lies outside of the image"),
        ((10, 10, 0, 5), "has no area"),
        ((10, 10, 5, -5), "has no area"),
        ((float("nan"), 10, 5, 5), "is not four finite numbers"),
        ((10, 10, float("inf"), 5), "is not four finite numbers"),
        ((1.7e308, 10, 1.7e308, 5), "is not four finite numbers"),
        ((1.7e308, 10, 5, 5), "lies outside of the image"),
        ((-20, -20, 35, 35), None),
        ((80, 80, 1e300, 1e300), None),
    ],
)
@pytest.mark.parametrize("rule", ["overlap", "painted"])
def test_boxes_that_are_none(folder, processor, tiny_llava, box, reason, rule):
    """From the scene graph to the patches; without them the question is asked all the same, and its edges measured."""
    questions, graphs = files(folder)
    name = next(name for name, entry in questions.items() if entry["types"]["structural"] == "query")
    graph = graphs[questions[name]["imageId"]]
    for thing in graph["objects"].values():
        thing |= dict(zip("xywh", box, strict=True))
    problems, _ = read(folder, questions, graphs)
    assert problems[name] is None
    table, _ = select_task(QUESTIONS.read(folder / "q.parquet"), "T", Task(structural="query"))
    kept, _ = with_images(CANDIDATES.frame(table), ImageSource(str(folder / "images")), task="T")
    rows, skipped = for_each_question(
        kept, lambda row: patch_row(processor, row, rule), stage="patches", task="T", model="m"
    )
    patches = {row["question_id"]: row["related"] for row in PATCHES.frame(rows).to_dicts()}
    reasons = dict(SKIPPED.frame(skipped).select("question_id", "reason").rows())
    assert patches.keys() | reasons.keys() == set(kept["question_id"])
    assert len(patches) > 0, "other questions go on"
    if reason is None:  # what lies inside counts: a corner of the image, one patch of 16 pixels
        assert patches[name] == ([0] if box[0] < 0 else [35])
        return
    assert reason in reasons[name]
    row = kept.filter(question_id=name).row(0, named=True) | {"related": None}
    row |= {"token_ids": answer_question(tiny_llava, Question.of(row))["token_ids"]}
    probe = KnockoutProbe(kind="knockout", window=1, edges=["related patches -> last", "image -> last"])
    run = ProbeRun(tiny_llava, probe, "flow")
    assert set(run(row)["edge"]) == {"image -> last"}
    assert [(each.question, each.what) for each in run.skipped] == [(name, "related patches -> last")]


# --- words that are not in the question ---


def test_options_and_objects_that_are_not_in_the_question(folder, tiny_llava):
    questions, graphs = files(folder)
    name, entry = next((n, e) for n, e in questions.items() if e["types"]["structural"] == "choose")
    entry["question"] = "What is it?"
    read(folder, questions, graphs)
    table, _ = select_task(QUESTIONS.read(folder / "q.parquet"), "T", Task(structural="choose"))
    kept, _ = with_images(CANDIDATES.frame(table), ImageSource(str(folder / "images")), task="T")
    row = kept.filter(question_id=name).row(0, named=True) | {"related": None, "token_ids": [5]}
    edges = ["true option -> last", "false option -> last", "options -> last", "objects -> last", "question -> last"]
    run = ProbeRun(tiny_llava, KnockoutProbe(kind="knockout", window=1, edges=edges), "flow")
    assert set(run(row)["edge"]) == {"question -> last"}
    assert [each.what for each in run.skipped] == edges[:4]
    for each, option in zip(run.skipped, (row["true_option"], row["false_option"]), strict=False):
        assert f"{option!r} is not in the question 'What is it?'" in each.reason
    only = KnockoutProbe(kind="knockout", window=1, edges=edges[:4])
    with pytest.raises(QuestionError, match="no edge of the probe applies to this question"):
        ProbeRun(tiny_llava, only, "flow")(row)


# --- images ---


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, more=b""):
    """A black image of one bit a pixel, which packs a thousandfold, after chunks of text."""
    rows = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * height, 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image, kind, **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


FRAMES = [Image.new("RGB", (96, 96), color) for color in ("red", "blue")]
NOISE = saved(Image.effect_noise((96, 96), 90).convert("RGB"), "JPEG")
TEXT = b"t\0\0" + zlib.compress(b"\0" * 90_000_000, 9)
LIMIT = f"An image may have at most {LONGEST} pixels per side, and its longer side may be at most {LONGEST_TO_SHORTEST}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no image 1 (.jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, .tiff) in"),
        (b"", "it is empty, or in none of the formats JPEG, PNG, GIF, WEBP, BMP, TIFF"),
        (b"<html>404</html>", "it is empty, or in none of the formats JPEG"),
        (NOISE[: len(NOISE) // 2], "image file is truncated"),
        (NOISE[:-40], "image file is truncated"),
        (NOISE[:200], "cannot be read: "),
        ("folder", "Is a directory"),
        (png(10_000, 10_000), f"it has 10000 × 10000 pixels. {LIMIT}"),
        (png(30_000, 30_000), LIMIT),
        (png(8000, 1), f"it has 8000 × 1 pixels. {LIMIT}"),
        (png(96, 96, chunk(b"zTXt", TEXT)), "Decompressed data too large"),
        (png(96, 96, chunk(b"iCCP", TEXT)), "Decompressed data too large"),
        (saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "it has several frames"),
        (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "it has several frames"),
        (saved(FRAMES[0], "EPS"), "it is empty, or in none of the formats JPEG"),
        (saved(Image.fromarray(np.ones((96, 96), np.float32)), "TIFF"), "its pixels are 32-bit numbers"),
        (saved(Image.new("RGB", (96, 48)), "PNG"), "made for 96 × 96 pixels, but the image has 96 × 48"),
    ],
    ids=range(17),
)  # fmt: skip
def test_an_image_that_is_none_costs_its_questions_only(folder, processor, content, reason):
    path = folder / "images" / "1.png"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    read(folder, *files(folder))
    table, _ = select_task(QUESTIONS.read(folder / "q.parquet"), "T", Task(structural="query"))
    kept, unseen = with_images(CANDIDATES.frame(table), ImageSource(str(folder / "images")), task="T")
    rows, skipped = for_each_question(
        TASK.frame(kept), lambda row: patch_row(processor, row, "overlap"), stage="patches", task="T", model="m"
    )
    reasons = dict(SKIPPED.frame(pl.concat([unseen, skipped])).select("question_id", "reason").rows())
    assert set(reasons) == set(table.filter(image_id="1")["question_id"])
    assert {row["question_id"] for row in rows} == set(table.filter(pl.col("image_id") != "1")["question_id"])
    for why in reasons.values():
        assert reason in why
    if len(shown := kept.filter(image_id="1")):
        page = tasks_page([task_row("T", shown)], "T")
        assert ("data:image" in page) == ("the image has" in reason), "a page goes without it"


def test_a_bomb_is_told_before_it_is_unpacked(tmp_path):
    """Within the limits an image is opened, whatever PIL warns of; beyond, its size is all that is read."""
    (tmp_path / "bomb.png").write_bytes(png(LONGEST + 1, LONGEST + 1)[:2000])
    with pytest.raises(QuestionError, match=f"it has {LONGEST + 1} × {LONGEST + 1} pixels"):
        open_image(str(tmp_path / "bomb.png"))
    (tmp_path / "large.png").write_bytes(png(LONGEST, LONGEST // LONGEST_TO_SHORTEST + 1))
    assert open_image(str(tmp_path / "large.png")).size == (LONGEST, LONGEST // LONGEST_TO_SHORTEST + 1)


def test_colours_and_orientation(tmp_path):
    """An image of 16 bits is not white, one of four inks is in its colours, and stored pixels are where they are."""
    turned = Image.Exif()
    turned[274] = 6
    images = {
        "deep.png": saved(Image.fromarray(np.full((8, 16), 40_000, np.uint16)), "PNG"),
        "inks.jpg": saved(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), "JPEG"),
        "turned.jpg": saved(Image.new("RGB", (16, 8), "red"), "JPEG", exif=turned),
        "clear.png": saved(Image.new("RGBA", (16, 8), (255, 0, 0, 0)), "PNG"),
    }
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    seen = {name: open_image(str(tmp_path / name)) for name in images}
    assert {image.size for image in seen.values()} == {(16, 8)}
    assert seen["deep.png"].getpixel((0, 0)) == (156, 156, 156)
    for name in ("inks.jpg", "turned.jpg", "clear.png"):
        assert seen[name].getpixel((3, 3)) == pytest.approx((255, 0, 0), abs=2)


def test_a_disk_that_is_away_for_a_while_costs_no_question(tmp_path):
    """Of an image that is gone with its whole folder, or that cannot be opened for want of file handles, nothing is
    said but that the machine is to blame: the job fails, and is done again."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    with pytest.raises(QuestionError, match="cannot be read"):
        open_image(str(folder / "2.png"))
    folder.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        open_image(str(folder / "1.png"))
    (tmp_path / "away").rename(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            open_image(str(folder / "1.png"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_image(str(folder / "1.png")).size == (8, 8)
