"""The patch maps of one model: declared by the layout of its processor, or else measured."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from vlmflow.errors import GeometryError

from .base import drawn_view
from .patch_map import PatchMap
from .registry import LAYOUTS, find_patch_map

Measure = Callable[[tuple[int, int]], PatchMap]


class PatchMaps:
    """The patch map of each size of image for one processor, found once per size."""

    def __init__(self, processor: Any, measure: Measure | None = None) -> None:
        """Patch maps of a processor.

        Args:
            processor: of the model.
            measure: measures the patch map of images of a size (width, height), for processors that no layout fits;
                without it, they have no patch maps.
        """
        self.processor = processor
        self._layout = next((layout for layout in LAYOUTS if layout.fits(processor)), None)
        self._measure = measure
        self._found: dict[tuple[int, int], PatchMap | GeometryError] = {}

    def find(self, size: tuple[int, int]) -> PatchMap:
        """The patch map of images of `size` (width, height).

        Raises:
            GeometryError: the image's tokens are not patches.
        """
        if size not in self._found:
            try:
                self._found[size] = self._find(size)
            except GeometryError as error:
                self._found[size] = error
        found = self._found[size]
        if isinstance(found, GeometryError):
            raise found
        return found

    def _find(self, size: tuple[int, int]) -> PatchMap:
        if self._measure is None or (self._layout is not None and not self._layout.has_patches):
            return find_patch_map(self.processor, size)
        if self._layout is not None:
            # Some settings of a processor have no patch map in its layout.
            with suppress(GeometryError):
                return self._layout.patch_map(self.processor, size)
        return self._measure(size)

    def views(self, image: Image.Image) -> tuple[PatchMap, list[np.ndarray]]:
        """(the patch map of an image, the pixels of each view: (3, height, width) from 0 to 255).

        Raises:
            GeometryError: as `find`.
        """
        found = self.find(image.size)
        if self._layout is None:
            return found, [drawn_view(view, image) for view in found.views]
        return found, self._layout.view_pixels(self.processor, found, image)
