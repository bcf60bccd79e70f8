"""An image as a fixed number of query tokens, each of which sees all of it, as of InstructBLIP."""

from typing import Any

import numpy as np

from vlmflow.errors import GeometryError

from .base import ImageLayout, PatchMap


class QueryTokensLayout(ImageLayout):
    """No token stands for a patch, so that there is no patch map."""

    def fits(self, processor: Any) -> bool:
        """Whether the processor names a number of query tokens."""
        return getattr(processor, "num_query_tokens", None) is not None

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:  # noqa: ARG002
        """None: the error gives the reason."""
        raise GeometryError(
            f"patches do not apply: {type(processor).__name__} makes {processor.num_query_tokens} query tokens of a "
            "image, each of which sees all of it"
        )

    def view_pixels(self, processor: Any, found: PatchMap, pixels: np.ndarray) -> list[np.ndarray]:
        """None: without patches there are no views."""
        raise NotImplementedError
