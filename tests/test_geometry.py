"""Patch maps against masks that are painted and sent through the very same processor."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmflow.geometry import GeometryError, patch_grid
from vlmflow.word_level import word_level_processor

SIDE, PATCH = 48, 8


def processor(**settings):
    plain = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "resample": 0}
    return word_level_processor(["?"], SIDE, PATCH, **plain | settings)


def painted(processor, size, box):
    """The patches that hold at least one pixel of the box, after the processor's own cutting."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x, y, w, h = box
    pixels[y : y + h, x : x + w] = 255
    seen = processor.image_processor([Image.fromarray(pixels)], return_tensors="np")["pixel_values"][0, 0]
    patches = seen.reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).max(axis=(1, 3)) > 0.5
    return set(np.flatnonzero(patches).tolist())


@st.composite
def sizes_and_boxes(draw):
    width, height = draw(st.integers(20, 200)), draw(st.integers(20, 200))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@settings(max_examples=300)
@given(sizes_and_boxes())
def test_resize_and_centre_crop(case):
    size, box = case
    cut = processor()
    try:
        related = set(patch_grid(cut, size).related([box]))
    except GeometryError:
        related = set()
    by_paint = painted(cut, size, box)
    assert by_paint <= related
    # Picking pixels misses what is thinner than the distance between two picked ones: only at the box's border.
    x, y, w, h = box
    step = int(np.ceil(min(size) / SIDE)) + 1
    if w > 2 * step and h > 2 * step:
        inner = (x + step, y + step, w - 2 * step, h - 2 * step)
        with contextlib.suppress(GeometryError):  # the inner box may lie outside of the crop
            assert set(patch_grid(cut, size).related([inner])) <= by_paint


def test_whole_patches_are_exact():
    grid = patch_grid(processor(), (SIDE, SIDE))
    assert (grid.rows, grid.columns, len(grid)) == (6, 6, 36)
    assert grid.related([(0, 0, 8, 8)]) == [0]
    assert grid.related([(8, 0, 8, 16)]) == [1, 7]
    assert grid.related([(7.9, 0, 8.2, 8)]) == [0, 1, 2]
    assert grid.related([(0, 0, 8, 8), (40, 40, 8, 8)]) == [0, 35]


def test_a_wide_picture_loses_its_sides():
    grid = patch_grid(processor(), (2 * SIDE, SIDE))
    assert grid.related([(SIDE / 2, 0, 8, 8)]) == [0]
    with pytest.raises(GeometryError, match="outside of what the model sees"):
        grid.related([(0, 0, 20, 20)])


def test_no_resizing_a_small_picture_is_laid_on_black():
    cut = processor(do_resize=False)
    size, box = (21, 34), (2, 3, 9, 9)
    assert set(patch_grid(cut, size).related([box])) == painted(cut, size, box)


def test_squeezed_to_a_square():
    cut = processor(do_center_crop=False, size={"height": SIDE, "width": SIDE})
    size, box = (100, 60), (50, 0, 50, 30)
    assert set(patch_grid(cut, size).related([box])) == painted(cut, size, box)
    assert len(patch_grid(cut, size).related([box])) == 9


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (float("nan"), 0, 5, 5)])
def test_boxes_without_area(box):
    with pytest.raises(GeometryError, match="has no area"):
        patch_grid(processor(), (SIDE, SIDE)).related([box])


def test_a_processor_that_is_not_known():
    with pytest.raises(GeometryError, match="no patch map yet"):
        patch_grid(object(), (10, 10))
