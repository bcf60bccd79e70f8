"""Patch maps against masks that are painted and sent through the very same processor."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import LlavaImageProcessorPil, LlavaNextImageProcessorPil

from support import tiny_models
from support.layout_processors import GRIDS, KINDS, PATCH, SHAPE, SIDE, Processor
from vlmflow.calibration.word_level_processor import word_level_processor
from vlmflow.errors import GeometryError
from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.layouts.any_resolution import AnyResolutionLayout
from vlmflow.prompts.layouts.base import PatchMap, View
from vlmflow.prompts.layouts.painted import painted_patches
from vlmflow.prompts.layouts.registry import find_patch_map, find_views


def nearest(**settings):
    """A processor that picks pixels instead of averaging them, so that small cases are exact."""
    return word_level_processor(["?"], SIDE, PATCH, **{"resample": 0} | settings)


@st.composite
def sizes_and_boxes(draw):
    width, height = draw(st.integers(20, 260)), draw(st.integers(20, 260))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


def related(found, box):
    try:
        return set(found.related([box]))
    except GeometryError:
        return set()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=250)
@given(case=sizes_and_boxes())
def test_the_map_is_what_a_painted_mask_becomes(kind, case):
    """Every patch with pure paint is related, and every related patch has it unless the box only grazes it."""
    size, (x, y, w, h) = case
    processor = KINDS[kind]
    found = find_patch_map(processor, size)
    try:
        painted = set(painted_patches(processor, size, [(x, y, w, h)]))
    except GeometryError:
        painted = set()
    # The published rule paints one pixel more at the right and at the bottom.
    assert painted <= related(found, (x, y, w + 1, h + 1))
    for view in found.views:
        # Resizing mixes as many pixels of the image as its kernel is wide; what is deeper inside stays pure.
        grazed_x = 2 * max(1, 1 / view.scale_x) + 1 / view.scale_x
        grazed_y = 2 * max(1, 1 / view.scale_y) + 1 / view.scale_y
        if w > 2 * grazed_x and h > 2 * grazed_y:
            inner = (x + grazed_x, y + grazed_y, w - 2 * grazed_x, h - 2 * grazed_y)
            assert set(view.covered(inner)) <= painted


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(case=sizes_and_boxes())
def test_every_token_is_a_patch_or_none(kind, case):
    found = find_patch_map(KINDS[kind], case[0])
    patches = [token for view in found.views for token in view.tokens.flatten().tolist()]
    assert sorted(patches + found.no_patch) == list(range(found.tokens))
    newlines = [view.first + (row + 1) * (view.columns + 1) - 1 for view in found.views[1:] for row in range(view.rows)]
    assert found.no_patch == newlines


def test_a_wide_image_loses_its_padding_on_the_grid():
    """Squeezed once, and once on a grid of which the model drops rows at both sides."""
    processor, size = KINDS["any resolution"], (200, 50)
    found = find_patch_map(processor, size)
    base, tiles = found.views
    assert (base.rows, base.columns) == (6, 6)
    assert AnyResolutionLayout().grid(processor, size) == (1, 3)
    # 144 × 36 pixels in the middle of 144 × 48: of six rows of patches the image fills four and a half, and the
    # model, rounding, keeps four, so that two pixels of the image are lost at the top and at the bottom.
    assert (tiles.rows, tiles.columns, tiles.first) == (4, 18, 36)
    assert (tiles.scale_x, tiles.scale_y, tiles.shift_y) == (0.72, 0.72, -2)
    assert found.tokens == 36 + 4 * 19
    assert found.related([(0, 0, 1, 1)]) == [0]
    assert found.related([(0, 3, 1, 1)]) == [0, 36]
    assert found.related([(199, 46, 1, 1)]) == [35, 36 + 3 * 19 + 17]
    assert found.no_patch[:2] == [36 + 18, 36 + 19 + 18]
    shown = find_views(processor, Image.new("RGB", size, "red"))[1]
    assert [view.shape for view in shown] == [(3, 48, 48), (3, 32, 144)]
    assert all((view[0] == 255).all() for view in shown)


def test_a_tall_image_loses_its_padding_on_the_grid():
    found = find_patch_map(KINDS["any resolution"], (30, 100))
    tiles = found.views[1]
    # 30 × 100 becomes 44 × 144 in 48 × 144: two pixels of padding at each side, less than a patch.
    assert AnyResolutionLayout().grid(KINDS["any resolution"], (30, 100)) == (3, 1)
    assert (tiles.columns, tiles.shift_x) == (6, 2)
    slim = find_patch_map(KINDS["any resolution"], (10, 100)).views[1]
    # 15 of 48 pixels remain: of six columns of patches two are dropped at each side, by the model's own rounding.
    assert slim.columns == 2
    assert slim.shift_x == (48 - 15) // 2 - 2 * PATCH


def test_a_square_image_on_a_wider_grid_is_mapped():
    """The first grid of the list is taken where a larger one would gain nothing."""
    assert AnyResolutionLayout().grid(KINDS["any resolution"], (40, 40)) == (1, 2)
    shown = find_views(KINDS["any resolution"], Image.new("RGB", (40, 40), "red"))[1]
    assert all((view[0] == 255).all() for view in shown)


def test_boxes_of_complete_patches_are_exact():
    found = find_patch_map(nearest(), (SIDE, SIDE))
    assert found.tokens == 36
    assert found.related([(0, 0, 8, 8)]) == [0]
    assert found.related([(8, 0, 8, 16)]) == [1, 7]
    assert found.related([(7.9, 0, 8.2, 8)]) == [0, 1, 2]
    assert found.related([(0, 0, 8, 8), (40, 40, 8, 8)]) == [0, 35]


def test_the_published_rule_paints_both_ends_of_a_box():
    assert painted_patches(nearest(), (SIDE, SIDE), [(0, 0, 8, 8)]) == [0, 1, 6, 7]
    assert painted_patches(nearest(), (SIDE, SIDE), [(0, 0, 7, 7)]) == [0]


def test_a_box_outside_is_refused_by_either_rule():
    boxes = [(0, 0, 20, 20), (SIDE, 0, 8, 8)]
    with pytest.raises(GeometryError, match="outside of the part of the image that reaches the model"):
        painted_patches(KINDS["crop"], (2 * SIDE, SIDE), boxes)


def test_a_wide_image_is_mapped_cropped_or_padded():
    size = (2 * SIDE, SIDE)
    cropped = find_patch_map(KINDS["crop"], size)
    assert cropped.related([(SIDE / 2, 0, 8, 8)]) == [0]
    with pytest.raises(GeometryError, match="outside of the part of the image that reaches the model"):
        cropped.related([(0, 0, 20, 20)])
    padded = find_patch_map(KINDS["pad"], size)
    # Half as large, between a quarter of padding above and one below: rows 1.5 to 4.5.
    assert padded.related([(0, 0, 16, 8)]) == [6]
    assert padded.related([(80, 40, 16, 8)]) == [29]


def test_without_resizing_a_small_image_lies_on_black():
    cut = nearest(do_resize=False)
    assert set(find_patch_map(cut, (21, 34)).related([(2, 3, 8, 8)])) == set(
        painted_patches(cut, (21, 34), [(2, 3, 7, 7)])
    )


def test_an_image_squeezed_to_a_square_is_mapped():
    cut = nearest(do_center_crop=False, size={"height": SIDE, "width": SIDE})
    size = (100, 60)
    assert set(find_patch_map(cut, size).related([(50, 0, 50, 30)])) == set(
        painted_patches(cut, size, [(50, 0, 49, 29)])
    )
    assert len(find_patch_map(cut, size).related([(50, 0, 50, 30)])) == 9


def test_the_class_token_is_no_patch():
    processor = nearest()
    processor.vision_feature_select_strategy = "full"
    found = find_patch_map(processor, (SIDE, SIDE))
    assert (found.tokens, found.no_patch) == (37, [0])
    assert found.related([(0, 0, 8, 8)]) == [1]


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1)])
def test_boxes_without_area_are_refused(box):
    with pytest.raises(GeometryError, match="has no area"):
        find_patch_map(nearest(), (SIDE, SIDE)).related([box])


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1.7e308])
def test_boxes_that_are_no_numbers_are_refused(number, place):
    box = [1e308 if number == 1.7e308 else 1.0] * 4
    box[place] = number
    with pytest.raises(GeometryError, match="is not four finite numbers"):
        find_patch_map(nearest(), (SIDE, SIDE)).related([tuple(box)])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(case=sizes_and_boxes(), moved=st.tuples(*[st.sampled_from([-1e308, -300, -20, 0, 20, 300, 1e308])] * 2))
def test_only_the_inside_of_a_box_over_the_border_counts(kind, case, moved):
    """Nothing of it becomes a patch of what a processor pads images with."""
    size, (x, y, w, h) = case
    x, y = x + moved[0], y + moved[1]
    left, top, right, bottom = max(0, x), max(0, y), min(size[0], x + w), min(size[1], y + h)
    found = find_patch_map(KINDS[kind], size)
    inside = related(found, (left, top, right - left, bottom - top)) if left < right and top < bottom else set()
    assert related(found, (x, y, w, h)) == inside
    wide = related(found, (-1e300, -1e300, 2e300, 2e300))
    assert wide == related(found, (0, 0, *size))
    if size[0] > 2 * size[1] and kind == "pad":
        assert 0 not in wide, "the corner shows padding"


def test_a_question_without_boxes_has_no_related_patches():
    with pytest.raises(GeometryError, match="no box"):
        find_patch_map(nearest(), (SIDE, SIDE)).related([])


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (object(), "no patch map yet"),
        (Processor(LlavaNextImageProcessorPil(**SHAPE, image_grid_pinpoints=GRIDS), patch_size=7), "do not divide"),
        (
            Processor(
                LlavaNextImageProcessorPil(
                    size={"shortest_edge": 40}, crop_size=SHAPE["crop_size"], image_grid_pinpoints=GRIDS
                )
            ),
            "have no patch map yet",
        ),
        (
            Processor(
                LlavaNextImageProcessorPil(**SHAPE, image_grid_pinpoints=GRIDS),
                vision_feature_select_strategy="full",
            ),
            "class token",
        ),
    ],
)
def test_unknown_processors_are_refused(processor, message):
    with pytest.raises(GeometryError, match=message):
        find_patch_map(processor, (SIDE, SIDE))


def test_a_processor_that_counts_other_tokens_is_refused():
    processor = nearest()
    processor.num_additional_image_tokens = 3
    with pytest.raises(GeometryError, match=r"becomes 38 tokens, but its patch map has 36"):
        find_patch_map(processor, (SIDE, SIDE))


def test_a_view_maps_a_box_to_its_patches():
    view = View(2, 2, 10, 0.5, 0.25, 1.0, 2.0)
    assert view.project((4, 8, 20, 40)) == (3.0, 4.0, 13.0, 14.0)
    assert PatchMap((view,), 4, (100, 100)).related([(4, 8, 20, 40)]) == [0, 1, 2, 3]
    assert np.array_equal(view.tokens, [[0, 1], [2, 3]])


@pytest.fixture(scope="module", params=["crop", "pad", "any resolution"])
def tiny(request):
    """A small model whose image tokens show their own patch only: in its vision tower no patch hears of another."""
    kind = "llava_next" if request.param == "any resolution" else "llava"
    processor = tiny_models.build_processor(kind, "vicuna_v1", ["where?"])
    if request.param == "pad":
        processor.image_processor = LlavaImageProcessorPil(
            size=processor.image_processor.size, crop_size=processor.image_processor.crop_size, do_pad=True
        )
    model = tiny_models.build_model(kind, processor, answer="where")
    with torch.no_grad():
        for name, parameter in model.model.vision_tower.named_parameters():
            if "self_attn.out_proj" in name:
                parameter.zero_()
    return VisionLanguageModel(model, processor)


@settings(max_examples=25)
@given(case=sizes_and_boxes())
def test_the_models_patches_are_where_the_map_has_them(tiny, case):
    """Painting a box changes the tokens of the patches that it overlaps, and no others but those that it grazes."""
    size, (x, y, w, h) = case
    before, after = Image.new("RGB", size, "green"), Image.new("RGB", size, "green")
    after.paste((255, 0, 0), (x, y, x + w, y + h))
    states = []
    for image in (before, after):
        prompt = tiny.prompt(image, "where?")
        states.append(tiny.record(prompt).calls[0].hidden[0, prompt.positions("image")])
    changed = set((states[0] != states[1]).any(dim=1).nonzero().flatten().tolist())
    found = find_patch_map(tiny.processor, size)
    assert len(states[0]) == found.tokens
    for view in found.views:
        reach_x, reach_y = (3 * max(1, 1 / scale) + 2 / scale for scale in (view.scale_x, view.scale_y))
        mine = changed & set(view.tokens.flatten().tolist())
        assert mine <= set(view.covered((x - reach_x, y - reach_y, w + 2 * reach_x, h + 2 * reach_y)))
        if w > 2 * reach_x and h > 2 * reach_y:
            inner = (x + reach_x, y + reach_y, w - 2 * reach_x, h - 2 * reach_y)
            assert set(view.covered(inner)) <= mine
    assert not changed & set(found.no_patch)
