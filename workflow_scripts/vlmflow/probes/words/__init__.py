"""Which words the question's positions predict; [flow] appendices D and K."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.probes.base import ProbeSettings
from vlmflow.settings import Edges, each_once


class WordsProbe(ProbeSettings):
    """Which words the question's positions predict at the last layer, with modules or edges knocked out."""

    kind: Literal["words"]
    modules: Annotated[list[Literal["attention", "mlp"]], AfterValidator(each_once("module"))] = Field(
        default_factory=list, description="Modules whose output is zero at these positions."
    )
    edges: Edges | None = Field(None, description="Edges that are blocked.")
    window: int = Field(9, ge=1, description="Layers: for modules from l on, for edges around l (then odd).")
    top: int = Field(10, ge=1, description="Words a position.")
    pooled: bool = Field(
        False, description="Compare one set of words for the whole question instead of a set for each position."
    )

    @property
    def layers_asked(self) -> dict[str, int]:
        """See `ProbeSettings.layers_asked`."""
        return {"window": self.window}

    @model_validator(mode="after")
    def _something_is_knocked_out(self) -> "WordsProbe":
        if not self.modules and not self.edges:
            raise ValueError("modules, edges: give at least one of the two, there is nothing to knock out")
        if self.edges and self.window % 2 == 0:
            raise ValueError(f"window: {self.window} is even; around a layer, edges are blocked in an odd number")
        for edge in self.edges_asked:
            if edge.target in ("template", "last"):
                raise ValueError(
                    f"edges: '{edge}' changes nothing at the question's positions, which stand before {edge.target!r}"
                )
        return self
