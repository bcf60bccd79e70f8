"""Images of random pixels, the same in every run: a test that fails with one image fails with it again."""

import numpy as np
from PIL import Image


def noise_image(size, seed=0):
    """An image of noise.

    Args:
        size: (width, height), or the side of a square, in pixels.
        seed: of the pixels.
    """
    width, height = (size, size) if isinstance(size, int) else size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
