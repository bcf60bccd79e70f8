"""Every way in which an image becomes tokens is described, documented, and chosen by the processors of its families
alone; tests/models/test_family_patches.py compares each with measured patches and with paint."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.compared_families import measured_families
from support.layout_processors import KINDS, QueryTokensProcessor
from support.paths import ROOT
from vlmflow.errors import GeometryError, NotApplicableError
from vlmflow.models.processor import load_processor
from vlmflow.prompts.layouts.any_resolution import AnyResolutionLayout
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.layouts.registry import LAYOUTS, find_layout, find_patch_map, find_views
from vlmflow.prompts.layouts.square import SquareLayout

SMALL = {"crop": SquareLayout, "pad": SquareLayout, "any resolution": AnyResolutionLayout}


@pytest.fixture(scope="module")
def processors():
    """The processor of each family that is measured."""
    found = {}
    for name, family in measured_families().items():
        with tempfile.TemporaryDirectory() as folder:
            family.build(Path(folder))
            template = str(Path(folder) / "mine.jinja") if family.template == "folder" else family.template
            found[name] = load_processor(folder, template=template)
    return found


def test_at_most_one_layout_fits_a_processor(processors):
    fitting = {name: [layout for layout in LAYOUTS if layout.fits(processor)] for name, processor in processors.items()}
    assert {name: layouts for name, layouts in fitting.items() if len(layouts) > 1} == {}
    assert {type(layouts[0]) for layouts in fitting.values() if layouts} == {type(layout) for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_every_layout_is_described(layout):
    assert type(layout).__doc__
    assert f"`{type(layout).__name__}`" in (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize("name", SMALL)
def test_one_layout_fits_a_small_processor(name):
    assert [type(layout) for layout in LAYOUTS if layout.fits(KINDS[name])] == [SMALL[name]]
    assert type(find_layout(KINDS[name])) is SMALL[name]


def test_views_have_the_shape_of_their_patches(processors):
    """In every family, whether its pixels are taken from the processor or drawn."""
    image = Image.linear_gradient("L").resize((130, 90)).convert("RGB")
    for name, processor in processors.items():
        try:
            found, pixels = PatchMaps(processor).views(image)
        except GeometryError:
            continue
        assert len(pixels) == len(found.views), name
        for view, shown in zip(found.views, pixels, strict=True):
            assert shown.shape == (3, view.rows * view.patch, view.columns * view.patch), name
        # The image grows brighter downwards, and so does the view of all of it.
        rows = pixels[found.whole].mean(axis=(0, 2))
        assert rows[len(rows) // 4] < rows[len(rows) // 2] < rows[3 * len(rows) // 4], name


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


def test_tokens_that_are_no_patches_have_no_map():
    with pytest.raises(NotApplicableError, match="patches do not apply"):
        find_patch_map(QueryTokensProcessor(), (60, 60))


def test_an_unknown_processor_has_no_layout():
    with pytest.raises(GeometryError, match="object cuts images in a way that has no patch map yet"):
        find_layout(object())
