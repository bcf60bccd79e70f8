"""An image as a fixed number of query tokens, each of which attends to all of it, as in InstructBLIP."""

from typing import Any

import numpy as np

from vlmflow.errors import GeometryError

from .base import ImageLayout
from .patch_map import PatchMap


class QueryTokensLayout(ImageLayout):
    """No token corresponds to a patch, so there is no patch map."""

    def fits(self, processor: Any) -> bool:
        """Whether the processor names a number of query tokens."""
        return getattr(processor, "num_query_tokens", None) is not None

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:  # noqa: ARG002
        """No patch map: the error gives the reason."""
        raise GeometryError(
            f"patches do not apply: {type(processor).__name__} makes {processor.num_query_tokens} query tokens of an "
            "image, and each of them attends to all of it"
        )

    def view_pixels(self, processor: Any, found: PatchMap, pixels: np.ndarray) -> list[np.ndarray]:
        """No pixels: without patches there are no views."""
        raise NotImplementedError
