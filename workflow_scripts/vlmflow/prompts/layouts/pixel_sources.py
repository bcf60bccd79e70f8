"""Where each pixel that a processor gives to its model comes from in the image, whatever the processor does.

Coordinates are written into images as brightness, and the images are sent through the processor, which resizes, cuts
and pads them as it does with any other; each number that comes out is read as a coordinate.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlmflow.errors import GeometryError

# Images give the model whole numbers of brightness, from 0 to this one.
WHITE = 255


@dataclass(frozen=True)
class PixelSources:
    """Where each entry of one model input lies in the image.

    Attributes:
        x, y: in the shape of the input, column and row of the pixel in the image from 0; −1 for padding, and for
            entries that do not depend on the image.
    """

    x: np.ndarray
    y: np.ndarray


def without_blending(processor: Any) -> Any:
    """A copy of a processor that picks pixels when it resizes an image, and does not mix them."""
    picking = copy.copy(processor)
    picking.image_processor = copy.copy(processor.image_processor)
    for name in [name for name in vars(picking.image_processor) if "resample" in name]:
        setattr(picking.image_processor, name, Image.Resampling.NEAREST)
    return picking


def pixel_sources(inputs_of: Callable[[Image.Image], dict[str, Any]], size: tuple[int, int]) -> dict[str, PixelSources]:
    """Model input → where its entries lie in the image; only inputs that depend on the image are there.

    Args:
        inputs_of: the model inputs of an image, from a processor that does not mix pixels.
        size: width and height of the image in pixels.

    Raises:
        GeometryError: no input depends on the image, or the processor mixes pixels.
    """
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))

    def brightness(values: np.ndarray) -> dict[str, np.ndarray]:
        grey = Image.fromarray(values.astype(np.uint8)).convert("RGB")
        return {name: np.asarray(value, dtype=np.float64) for name, value in inputs_of(grey).items()}

    black, white = brightness(np.zeros_like(x)), brightness(np.full_like(x, WHITE))
    # Coordinates have two digits, since there are 256 levels of brightness.
    digits = [brightness(digit) for axis in (x, y) for digit in (axis % (WHITE + 1), axis // (WHITE + 1))]
    # What is read is checked with an image in which each pixel differs from its neighbours.
    seen = np.random.default_rng(0).integers(0, WHITE + 1, size=x.shape)
    noise = brightness(seen)
    found = {}
    for name, low in black.items():
        high = white[name]
        if low.shape != high.shape or np.array_equal(low, high):
            continue
        shown = high != low
        scale = np.where(shown, high - low, 1) / WHITE
        levels = [np.rint((each[name] - low) / scale).astype(np.int64) for each in (*digits, noise)]
        columns, rows = levels[0] + (WHITE + 1) * levels[1], levels[2] + (WHITE + 1) * levels[3]
        if not np.array_equal(seen[rows.clip(0, height - 1), columns.clip(0, width - 1)][shown], levels[4][shown]):
            raise GeometryError(
                "the processor mixes neighbouring pixels in a way that cannot be switched off, so that the positions "
                "of image tokens cannot be measured"
            )
        found[name] = PixelSources(np.where(shown, columns, -1), np.where(shown, rows, -1))
    if not found:
        raise GeometryError("no input of the model depends on the image's pixels")
    return found
