"""The patch maps of one model: declared by the layout of its processor, or else measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from vlmflow.errors import GeometryError

from .base import drawn_view
from .patch_map import PatchMap
from .registry import find_layout

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
        try:
            layout = find_layout(self.processor)
            return layout.patch_map(self.processor, size)
        except GeometryError:
            if self._measure is None or not self._may_have_patches():
                raise
        return self._measure(size)

    def _may_have_patches(self) -> bool:
        try:
            return find_layout(self.processor).has_patches
        except GeometryError:
            return True

    def views(self, image: Image.Image) -> tuple[PatchMap, list[np.ndarray]]:
        """(the patch map of an image, the pixels of each view: (3, height, width) from 0 to 255).

        Raises:
            GeometryError: as `find`.
        """
        found = self.find(image.size)
        try:
            return found, find_layout(self.processor).view_pixels(self.processor, found, image)
        except GeometryError:
            return found, [drawn_view(view, image) for view in found.views]
