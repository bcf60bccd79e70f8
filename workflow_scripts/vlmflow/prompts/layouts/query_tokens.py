"""An image as a fixed number of query tokens, each of which attends to all of it, as in InstructBLIP."""

from typing import Any

from vlmflow.errors import GeometryError

from .base import ImageLayout
from .patch_map import PatchMap


class QueryTokensLayout(ImageLayout):
    """No token corresponds to a patch, so there is no patch map."""

    has_patches = False

    def fits(self, processor: Any) -> bool:
        """Whether the processor names a number of query tokens."""
        return getattr(processor, "num_query_tokens", None) is not None

    def patch_map(self, processor: Any, size: tuple[int, int]) -> PatchMap:  # noqa: ARG002
        """No patch map: the error gives the reason."""
        raise GeometryError(
            f"patches do not apply: {type(processor).__name__} makes {processor.num_query_tokens} query tokens of an "
            "image, and each of them attends to all of it"
        )
