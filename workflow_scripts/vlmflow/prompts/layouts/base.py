"""The base class of the ways in which processors turn an image into tokens."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from .patch_map import PatchMap, View

# What processors call the pixels of images; Video-LLaVA has those of videos beside them.
PIXEL_VALUES = ("pixel_values", "pixel_values_images")


class ImageLayout(ABC):
    """One way in which a processor turns an image into tokens.

    Attributes:
        has_patches: whether tokens stand for parts of an image; without them, nothing is measured either.
        shows_pixels: whether `view_pixels` takes them from the processor, and does not draw them.
    """

    has_patches: ClassVar[bool] = True
    shows_pixels: ClassVar[bool] = False

    @abstractmethod
    def fits(self, processor: Any) -> bool:
        """Whether this is the processor's way."""

    @abstractmethod
    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:
        """The patch map of an image.

        Args:
            processor: one that fits.
            size: width and height of the image in pixels.

        Raises:
            GeometryError: the tokens are not patches, or there is no patch map for the processor's settings.
        """

    def view_pixels(self, processor: Any, found: PatchMap, image: Image.Image) -> list[np.ndarray]:  # noqa: ARG002
        """The pixels (3, height, width) of each view, from 0 to 255; by default drawn as the patch map has them.

        Args:
            processor: one that fits.
            found: the image's patch map.
            image: in RGB.
        """
        return [drawn_view(view, image) for view in found.views]


def processor_name(processor: Any) -> str:
    """The name of a processor's class, by which layouts of one family know it."""
    return type(processor).__name__


def processed(processor: Any, image: Image.Image, **settings: Any) -> dict[str, Any]:
    """All outputs of the processor's image processor for one image, as arrays."""
    return dict(processor.image_processor([image], return_tensors="np", **settings))


def processed_pixels(processor: Any, image: Image.Image) -> np.ndarray:
    """The processor's pixel values of one image, of all of its tiles, from 0 to 255, without normalisation of the
    colours."""
    outputs = processed(processor, image, do_normalize=False, do_rescale=False)
    return np.asarray(next(outputs[name] for name in PIXEL_VALUES if name in outputs))


def drawn_view(view: View, image: Image.Image) -> np.ndarray:
    """The pixels (3, height, width) of a view, drawn as its geometry says; black where it lies outside of the image."""
    inverse = (1 / view.scale_x, 0, -view.shift_x / view.scale_x, 0, 1 / view.scale_y, -view.shift_y / view.scale_y)
    side = (view.columns * view.patch, view.rows * view.patch)
    drawn = image.convert("RGB").transform(side, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    return np.asarray(drawn, dtype=np.float64).transpose(2, 0, 1)


def squeezed_view(size: tuple[int, int], rows: int, columns: int, patch: int, **further: int) -> View:
    """A view that holds the complete image, squeezed to `rows` × `columns` patches.

    Args:
        size: width and height of the image in pixels.
        rows, columns: numbers of patches.
        patch: side of a patch in pixels of the view.
        further: other attributes of the view.
    """
    width, height = size
    return View(rows, columns, patch, columns * patch / width, rows * patch / height, 0.0, 0.0, **further)
