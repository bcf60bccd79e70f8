"""Where the image tokens of each family lie in the image: what a layout declares is what is measured, and what painted
regions change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.compared_families import measured_families, model, one_thread  # noqa: F401 (a fixture)
from vlmflow import load_model
from vlmflow.errors import GeometryError
from vlmflow.prompts.layouts.reached_tokens import embeddings, muted_encoder
from vlmflow.prompts.layouts.registry import find_layout, find_patch_map
from vlmflow.prompts.measure_layout import noise

FAMILIES = {name: each for name, each in measured_families().items() if not each.refused_at_record}
WITH_PATCHES = [name for name, family in FAMILIES.items() if not family.no_patches]
# Families whose tokens are declared, but cannot be measured, and why.
NOT_MEASURED = {
    "HunYuan-VL": "mixes neighbouring pixels in a way that cannot be switched off",
    # Its image encoder has convolutions over the patches.
    "LFM3-VL": "% of the image's pixels reach several image tokens each",
    "LLaVA-OneVision, reduced": "% of the image's pixels reach several image tokens each",
}
# Families whose tokens mix neighbouring patches.
BLURRED = ("LFM3-VL", "LLaVA-OneVision, reduced")


def declares(vlm):
    try:
        return find_layout(vlm.processor).has_patches
    except GeometryError:
        return False


def rectangles(patch_map):
    """Token → (left, top, right, bottom) of its patch inside of the image, and the size of its view's pixels, in pixels
    of the image."""
    found = {}
    for view in patch_map.views:
        for (row, column), token in np.ndenumerate(view.tokens):
            left, right = (((column + end) * view.patch - view.shift_x) / view.scale_x for end in (0, 1))
            top, bottom = (((row + end) * view.patch - view.shift_y) / view.scale_y for end in (0, 1))
            clipped = np.clip((left, top, right, bottom), 0, (*patch_map.size, *patch_map.size))
            found[int(token)] = clipped, max(1.0, 1 / view.scale_x, 1 / view.scale_y)
    return found


sizes = st.tuples(st.integers(20, 150), st.integers(20, 150))


@pytest.mark.parametrize("name", [name for name in WITH_PATCHES if name not in NOT_MEASURED])
@settings(max_examples=3, deadline=None)
@given(size=sizes)
def test_what_is_declared_is_what_is_measured(name, size):
    vlm = model(name)
    if not declares(vlm):
        pytest.skip("no layout fits its processor, so that there is nothing to compare")
    declared, measured = find_patch_map(vlm.processor, size), vlm.measure_patch_map(size)
    assert declared.tokens == measured.tokens
    ours, theirs = rectangles(declared), rectangles(measured)
    assert set(theirs) <= set(ours)
    for token, (sides, pixel) in ours.items():
        if token in theirs:
            assert np.abs(sides - theirs[token][0]).max() <= 2 * pixel
        else:
            # Only a sliver of the image is in the patch, from which no pixel was picked; the rest is padding.
            assert min(sides[2] - sides[0], sides[3] - sides[1]) <= pixel


@st.composite
def sizes_and_boxes(draw):
    width, height = draw(sizes)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@pytest.mark.parametrize("name", WITH_PATCHES)
@settings(max_examples=3, deadline=None)
@given(case=sizes_and_boxes())
def test_paint_changes_the_tokens_of_the_patches_that_it_overlaps(name, case):
    """With the processor's own way to resize, and no others but those that the paint grazes."""
    size, (x, y, w, h) = case
    vlm = model(name)
    before = noise(size)
    after = before.copy()
    after.paste(Image.eval(before, lambda level: 255 - level).crop((x, y, x + w, y + h)), (x, y))
    states = []
    with torch.no_grad(), muted_encoder(vlm.model):
        for image in (before, after):
            prompt = vlm.image_prompt(image)
            states.append(embeddings(vlm.model, prompt.inputs, prompt.positions("image")))
    changed = set(((states[0] - states[1]).abs() > 1e-9).any(dim=1).nonzero().flatten().tolist())
    found = vlm.patch_maps.find(size)
    assert len(states[0]) == found.tokens
    assert not changed & set(found.no_patch)
    for view in found.views:
        # Resizing mixes as many pixels of the image as its kernel is wide, some processors twice.
        patches = view.patch if name in BLURRED else 0
        reach_x, reach_y = (
            2 * (3 * max(1, 1 / scale) + (2 + patches) / scale) for scale in (view.scale_x, view.scale_y)
        )
        mine = changed & set(view.tokens.flatten().tolist())
        assert mine <= set(view.covered((x - reach_x, y - reach_y, w + 2 * reach_x, h + 2 * reach_y)))
        if w > 2 * reach_x and h > 2 * reach_y:
            inner = (x + reach_x, y + reach_y, w - 2 * reach_x, h - 2 * reach_y)
            assert set(view.covered(inner)) <= mine


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.no_patches])
def test_tokens_that_stand_for_no_part_of_the_image_are_told_by_themselves(name):
    vlm = model(name)
    with pytest.raises(GeometryError, match=FAMILIES[name].no_patches):
        vlm.patch_maps.find((130, 90))
    with pytest.raises(GeometryError, match="patches do not apply"):
        vlm.measure_patch_map((130, 90))


@pytest.mark.parametrize("name", NOT_MEASURED)
def test_what_cannot_be_measured_is_told(name):
    with pytest.raises(GeometryError, match=NOT_MEASURED[name]):
        model(name).measure_patch_map((200, 200))


@pytest.mark.parametrize("name", ["MiniCPM-V 4.6", "InternVL"])
def test_half_precision_measures_the_same(name, tmp_path):
    FAMILIES[name].build(tmp_path)
    found = [
        load_model(tmp_path, device="cpu", dtype=dtype).measure_patch_map((300, 220))
        for dtype in ("float32", "float16", "bfloat16")
    ]
    assert found[0] == found[1] == found[2]
