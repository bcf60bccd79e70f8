"""Norms of the image encoder's features; [flow] appendix E."""

from typing import Literal

from vlmflow.probes.base import ProbeSettings


class NormsProbe(ProbeSettings):
    """Norms of the image encoder's features, patch by patch."""

    kind: Literal["norms"]

    @property
    def needs(self) -> str | None:
        """See `ProbeSettings.needs`."""
        return "picture"
