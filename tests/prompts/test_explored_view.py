"""Images of the page of single questions: small, with boxes and related patches where the model has them."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from support.explored import photograph
from support.paths import TINY_LLAVA
from vlmflow.errors import GeometryError, QuestionError
from vlmflow.models.processor import load_processor
from vlmflow.prompts.explored_view import LARGEST, SIDE, explored_view
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.tables import EXPLORED


@pytest.fixture(scope="module")
def maps():
    return PatchMaps(load_processor(TINY_LLAVA))


def row(path, boxes=(), related=None):
    objects = [{"name": name, "id": "1", **dict(zip("xywh", box, strict=True))} for name, box in boxes]
    about = {"task": "T", "question_id": "1", "image": str(path), "objects": objects}
    return about | {"related": related}


def test_boxes_and_patches_are_where_the_model_has_them(maps, tmp_path):
    size = maps.find((96, 96)).size
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, size[0] // 2 :] = 255
    Image.fromarray(image).save(tmp_path / "i.png")
    box = (size[0] / 2, 0, size[0] / 2, size[1])
    related = maps.find(size).related([box])
    view = explored_view(maps, row(tmp_path / "i.png", [("half", box), ("absent", (None,) * 4)], related))
    EXPLORED.frame([view])
    (placed,) = view["boxes"]
    assert [placed[side] for side in "xywh"] == pytest.approx([0.5, 0, 0.5, 1], abs=0.01)
    columns = {cell % view["columns"] for cell in view["related"]}
    assert columns == set(range(view["columns"] // 2, view["columns"]))
    shown = np.asarray(Image.open(io.BytesIO(view["image"])).convert("L"))
    assert shown.shape == (view["height"], view["width"])
    assert shown[:, : shown.shape[1] // 2 - 4].mean() < 20
    assert shown[:, shown.shape[1] // 2 + 4 :].mean() > 235


def test_an_image_is_small(maps, tmp_path):
    photograph(0, 1000).save(tmp_path / "large.jpg", quality=95)
    view = explored_view(maps, row(tmp_path / "large.jpg"))
    assert max(view["width"], view["height"]) <= SIDE
    assert len(view["image"]) <= 2 * LARGEST
    assert (view["boxes"], view["related"]) == ([], [])


def test_without_a_patch_map_the_image_itself_is_shown(tmp_path):
    class NoMaps:
        def views(self, image):
            raise GeometryError("its tokens are no patches")

    Image.new("RGB", (80, 40), "red").save(tmp_path / "i.png")
    view = explored_view(NoMaps(), row(tmp_path / "i.png", [("thing", (20, 10, 40, 20))]))
    assert (view["rows"], view["columns"], view["width"], view["height"]) == (0, 0, 80, 40)
    assert [view["boxes"][0][side] for side in "xywh"] == [0.25, 0.25, 0.5, 0.5]
    assert len(pl.DataFrame([view])) == 1


def test_an_image_that_cannot_be_opened_is_an_error_of_its_question(maps, tmp_path):
    with pytest.raises(QuestionError):
        explored_view(maps, row(tmp_path / "missing.png"))
