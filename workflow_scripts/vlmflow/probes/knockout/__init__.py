"""Attention knockout: how the answer's probability changes when an edge is blocked; [flow] section 3.2."""

from typing import Literal

from pydantic import Field, model_validator

from vlmflow.edges import SINK_SEGMENTS
from vlmflow.probes.base import ProbeSettings
from vlmflow.settings import Edges, Name, Strict, Windows


class Sinks(Strict):
    """Which patches the image encoder uses as attention sinks: those whose features have a high norm."""

    norms: Name = Field(description="The probe of kind norms that measures them.")
    above: float | None = Field(None, gt=0, description="A threshold; [flow] has 57.")
    quantile: float | None = Field(
        None, gt=0, lt=1, description="Or the threshold as a quantile of all norms of the model and task."
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> "Sinks":
        if (self.above is None) == (self.quantile is None):
            raise ValueError("give either above (a norm) or quantile (a share of the patches)")
        return self


class KnockoutProbe(ProbeSettings):
    """Attention knockout: each edge blocked in a window around every layer."""

    kind: Literal["knockout"]
    window: Windows = Field([9], description="Layers, odd; one number or several.")
    edges: Edges = Field(description="Each as 'source -> target'; or all, for every segment to every later one.")
    token: Literal["first", "last"] = Field(
        "first", description="The answer's sub-word whose probability is followed, the earlier ones given."
    )
    sinks: Sinks | None = Field(None, description="For the segments 'sinks' and '… patches without sinks'.")

    @property
    def layers_asked(self) -> dict[str, int]:
        """See `ProbeSettings.layers_asked`."""
        return {"window": max(self.window)}

    @model_validator(mode="after")
    def _sinks_are_said(self) -> "KnockoutProbe":
        asked = [name for edge in self.edges_asked for name in (edge.source, edge.target) if name in SINK_SEGMENTS]
        if asked and self.sinks is None:
            raise ValueError(f"sinks: this key is missing; it says which patches {asked[0]!r} are")
        if self.sinks is not None and not asked:
            raise ValueError(f"sinks: no edge has one of the segments {', '.join(SINK_SEGMENTS)}; take this key out")
        return self
