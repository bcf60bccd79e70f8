"""The base class of the ways in which processors turn an image into tokens."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from PIL import Image

from .patch_map import PatchMap


class ImageLayout(ABC):
    """One way in which a processor turns an image into tokens."""

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

    @abstractmethod
    def view_pixels(self, processor: Any, found: PatchMap, pixels: np.ndarray) -> list[np.ndarray]:
        """The pixels (3, height, width) of each view, taken from the processor's pixel values of one image.

        Args:
            processor: one that fits.
            found: the image's patch map.
            pixels: the entry of `pixel_values`, as the processor shapes it.
        """


def processed_pixels(processor: Any, image: Image.Image) -> np.ndarray:
    """The processor's pixel values of one image, from 0 to 255, without normalisation of the colours."""
    processed = processor.image_processor([image], return_tensors="np", do_normalize=False, do_rescale=False)
    return np.asarray(processed["pixel_values"][0])
