"""Every way in which an image becomes tokens is described, documented, chosen by its processors alone, and correct."""

import numpy as np
import pytest
from PIL import Image

from support.layout_processors import KINDS, QueryTokensProcessor
from support.paths import ROOT
from vlmflow.errors import GeometryError, NotApplicableError
from vlmflow.prompts.layouts.any_resolution import AnyResolutionLayout
from vlmflow.prompts.layouts.query_tokens import QueryTokensLayout
from vlmflow.prompts.layouts.registry import LAYOUTS, find_layout, find_patch_map, find_views
from vlmflow.prompts.layouts.square import SquareLayout

# Processors of each layout; tests/prompts/test_layouts.py compares those with patches to painted masks.
WITH_PATCHES = {SquareLayout: [KINDS["crop"], KINDS["pad"]], AnyResolutionLayout: [KINDS["any resolution"]]}
WITHOUT_PATCHES = {QueryTokensLayout: [QueryTokensProcessor()]}
EXAMPLES = [(kind, processor) for kind, examples in (WITH_PATCHES | WITHOUT_PATCHES).items() for processor in examples]


def test_every_layout_has_a_processor_and_every_processor_a_test():
    assert {type(layout) for layout in LAYOUTS} == {*WITH_PATCHES, *WITHOUT_PATCHES}
    compared = [processor for examples in WITH_PATCHES.values() for processor in examples]
    assert all(any(processor is other for other in compared) for processor in KINDS.values())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_every_layout_is_described(layout):
    assert type(layout).__doc__
    assert f"`{type(layout).__name__}`" in (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize(("kind", "processor"), EXAMPLES)
def test_one_layout_fits_a_processor(kind, processor):
    assert [type(layout) for layout in LAYOUTS if layout.fits(processor)] == [kind]
    assert type(find_layout(processor)) is kind


@pytest.mark.parametrize("processor", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", [(60, 60), (97, 41), (33, 120)])
def test_a_painted_box_is_seen_on_its_patches(processor, size):
    """Every view shows the paint on the patches that the map calls related, and nowhere else but beside them."""
    box = (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2)
    image = Image.new("RGB", size, "black")
    image.paste((255, 0, 0), (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    found, pixels = find_views(processor, image)
    assert found == find_patch_map(processor, size)
    related = set(found.related([box]))
    for view, shown in zip(found.views, pixels, strict=True):
        red = shown[0, : view.rows * view.patch, : view.columns * view.patch]
        blocks = red.reshape(view.rows, view.patch, view.columns, view.patch)
        pure = view.tokens[np.abs(blocks - 255.0).max(axis=(1, 3)) == 0]
        touched = view.tokens[(blocks > 127).any(axis=(1, 3))]
        assert set(pure.tolist()) <= related
        assert set(touched.tolist()) <= related
        assert related & set(view.tokens.flatten().tolist())


@pytest.mark.parametrize("processor", [each for examples in WITHOUT_PATCHES.values() for each in examples])
def test_tokens_that_are_no_patches_have_no_map(processor):
    with pytest.raises(NotApplicableError, match="patches do not apply"):
        find_patch_map(processor, (60, 60))


def test_an_unknown_processor_has_no_layout():
    with pytest.raises(GeometryError, match="object cuts images in a way that has no patch map yet"):
        find_layout(object())
