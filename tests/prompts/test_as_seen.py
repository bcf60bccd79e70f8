"""Images as a model sees them, for figures to draw on: which, how large, and of what."""

import io
import itertools

import numpy as np
import polars as pl
import pytest
from PIL import Image

from support import tiny_models
from support.paths import TINY_LLAVA
from support.questions import of_task
from vlmflow.calibration.word_level_processor import word_level_processor
from vlmflow.data import scenes
from vlmflow.models.processor import load_processor
from vlmflow.prompts.as_seen import LEAST, example_views
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.tables import TASK, VIEWS

COUNT = 9


@pytest.fixture(scope="module")
def processor():
    return load_processor(TINY_LLAVA)


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Rows of the table `task`, with its name; the image of question 4 is missing, that of question 5 is broken."""
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for number in range(COUNT):
        path = folder / f"{number}.png"
        if number == 5:
            path.write_text("no image")
        elif number != 4:
            scenes.render(scenes.draw_scene(number, seed=3)).save(path)
        rows.append(
            dict.fromkeys(TASK.columns)
            | {
                "question_id": str(number),
                "image_id": str(number),
                "question": f"Is it {number}?",
                "answer": f"a{number}",
                "structural": "query",
                "semantic": "attr",
                "detailed": "",
                "objects": [],
                "image": str(path),
            }
        )
    return of_task(TASK.frame(rows), "T")


def views(processor, questions, count=COUNT, measured=None):
    ids = questions["question_id"] if measured is None else pl.Series(measured)
    return VIEWS.frame(list(example_views(PatchMaps(processor), questions, ids, count)))


def pixels_of(row):
    return np.asarray(Image.open(io.BytesIO(row["image"])))


def test_a_row_for_each_question_whose_image_can_be_read(processor, questions):
    found = views(processor, questions)
    assert found.select("task", "question_id").rows() == [("T", number) for number in "0123678"]
    assert found.select("question", "answer").row(4) == ("Is it 6?", "a6")
    side = scenes.SIDE // scenes.CELL
    assert set(found.select("rows", "columns").iter_rows()) == {(side, side)}


def test_the_image_is_what_the_model_sees(processor, questions):
    """Enlarged by whole factors, so that no pixel is mixed with others."""
    for row in views(processor, questions).to_dicts():
        original = np.asarray(scenes.render(scenes.draw_scene(int(row["question_id"]), seed=3)))
        shown = pixels_of(row)
        zoom = -(-LEAST // scenes.SIDE)
        assert zoom > 1
        assert shown.shape == (zoom * scenes.SIDE, zoom * scenes.SIDE, 3)
        assert np.array_equal(shown, original.repeat(zoom, axis=0).repeat(zoom, axis=1)), "this model sees all of it"


def one(tmp_path, questions, image):
    image.save(tmp_path / "one.png")
    return questions.head(1).with_columns(image=pl.lit(str(tmp_path / "one.png")))


def test_what_is_cropped_is_not_shown(processor, questions, tmp_path):
    """An image twice as wide as it is high loses its sides, unless it is padded."""
    image = Image.new("RGB", (192, 96), "blue")
    image.paste("red", (48, 0, 144, 96))
    shown = pixels_of(views(processor, one(tmp_path, questions, image)).row(0, named=True))
    assert (shown == (255, 0, 0)).all()
    padded = pixels_of(views(load_processor(TINY_LLAVA, fit="pad"), one(tmp_path, questions, image)).row(0, named=True))
    ground = [int(255 * value) for value in load_processor(TINY_LLAVA).image_processor.image_mean]
    assert np.abs(padded[0, 0].astype(int) - ground).max() <= 1
    half = len(padded) // 2
    assert (padded[half, half] == (255, 0, 0)).all()
    assert (padded[half, 0] == (0, 0, 255)).all()


def test_large_views_are_not_enlarged(questions, tmp_path):
    """And are written as JPEG, which photographs are small in."""
    image = Image.linear_gradient("L").resize((500, 400)).convert("RGB")
    row = views(word_level_processor(["?"], 256, 32), one(tmp_path, questions, image)).row(0, named=True)
    assert (row["rows"], row["columns"]) == (8, 8)
    assert row["image"].startswith(b"\xff\xd8")
    shown = pixels_of(row)
    assert shown.shape == (256, 256, 3)
    expected = np.asarray(image.resize((320, 256)).crop((32, 0, 288, 256)))
    assert np.abs(shown.astype(int) - expected).mean() < 2


def test_only_what_patches_fill_is_shown(questions, tmp_path):
    """Of 50 pixels, patches of 16 cover 48; what is beyond is no part of the grid."""
    processor = word_level_processor(["?"], 50, 16)
    image = Image.new("RGB", (50, 50), "red")
    image.paste("blue", (48, 0, 50, 50))
    row = views(processor, one(tmp_path, questions, image)).row(0, named=True)
    assert (row["rows"], row["columns"]) == (3, 3)
    shown = pixels_of(row)
    assert shown.shape == (240, 240, 3)
    assert (shown == (255, 0, 0)).all()


def test_of_tiles_the_first_view_is_shown(questions, tmp_path):
    """It holds the whole image, squeezed."""
    processor = tiny_models.build_processor("llava_next", "vicuna_v1", ["a"])
    image = Image.new("RGB", (120, 60), "blue")
    image.paste("red", (0, 0, 60, 60))
    row = views(processor, one(tmp_path, questions, image)).row(0, named=True)
    side = tiny_models.SIDE // tiny_models.PATCH
    assert (row["rows"], row["columns"]) == (side, side)
    shown = pixels_of(row)
    assert (shown[:, 0] == (255, 0, 0)).all()
    assert (shown[:, -1] == (0, 0, 255)).all()


def test_the_examples_do_not_depend_on_other_questions(processor, questions):
    whole = [set(views(processor, questions, count)["question_id"]) for count in range(COUNT + 1)]
    assert all(len(found) <= count for count, found in enumerate(whole))
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(whole))
    assert len(whole[-1]) == COUNT - 2
    two = next(found for found in whole if len(found) == 2)
    measured = [name for name in questions["question_id"] if name in two or name in "45"]
    assert set(views(processor, questions, 4, measured)["question_id"]) == two, "others do not change what is drawn"
    shuffled = questions.sample(fraction=1, shuffle=True, seed=1)
    assert set(views(processor, shuffled, 4)["question_id"]) == whole[4]
    assert views(processor, questions).equals(views(processor, questions)), "the same bytes"


def test_only_what_was_measured_is_shown(processor, questions):
    assert views(processor, questions, measured=["7", "2"])["question_id"].to_list() == ["2", "7"]
    assert len(views(processor, questions, measured=pl.Series([], dtype=pl.String))) == 0


def test_tokens_that_are_no_patches_have_no_view(questions):
    class Processor:
        """Makes query tokens of an image."""

        image_processor = None

    assert len(views(Processor(), questions)) == 0
