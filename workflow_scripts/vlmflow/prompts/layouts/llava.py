"""Shared by the layouts of LLaVA's processors, which count the patches that an image becomes."""

from dataclasses import replace
from typing import Any

from vlmflow.engine.internals import token_count_of
from vlmflow.errors import GeometryError

from .patch_map import PatchMap


def counts_patches(processor: Any) -> bool:
    """Whether a processor is of LLaVA's kind, with an image processor that crops."""
    images = getattr(processor, "image_processor", None)
    # Other processors that also have a patch size and a crop size cut images in other ways.
    counts = hasattr(processor, "num_additional_image_tokens") and getattr(processor, "patch_size", None) is not None
    return images is not None and counts and hasattr(images, "crop_size")


def cuts_tiles(processor: Any) -> bool:
    """Whether its image processor chooses a grid of tiles for each image."""
    return hasattr(processor.image_processor, "image_grid_pinpoints")


def keeps_class_token(processor: Any) -> bool:
    """Whether the model keeps the image encoder's tokens for the image as a whole, before the patches."""
    return getattr(processor, "vision_feature_select_strategy", None) == "full"


def with_class_tokens(processor: Any, found: PatchMap) -> PatchMap:
    """The patch map of one view whose patches come after the image encoder's tokens for the image as a whole."""
    extra = getattr(processor, "num_additional_image_tokens", 0)
    return PatchMap((replace(found.views[0], first=extra),), found.tokens + extra, found.size)


def check_tokens(processor: Any, found: PatchMap) -> None:
    """Check the number of tokens of a patch map against the processor's own count.

    Raises:
        GeometryError: they differ.
    """
    count = token_count_of(processor)
    # The count of an image that is not cropped is known only once it is processed.
    if count is None or not getattr(processor.image_processor, "do_center_crop", False):
        return
    width, height = found.size
    expected = count(image_sizes=[(height, width)])["num_image_tokens"][0]
    if expected != found.tokens:
        raise GeometryError(
            f"an image of {width} × {height} pixels becomes {expected} tokens, but its patch map has "
            f"{found.tokens}; {type(processor).__name__} cuts it in an unknown way"
        )
