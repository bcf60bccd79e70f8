"""The probes of a study: each one measurement, with a table of its own."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.edges import SINK_SEGMENTS
from vlmflow.settings import Edges, Name, Strict, Windows, each_once

from .pictured import AttentionMapProbe, AttentionProbe, BudgetProbe, PlacesProbe, SimilarityProbe, VisualLensProbe
from .settings import ProbeSettings


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


class LensProbe(ProbeSettings):
    """Logit lens at the last position: the answer and the false option, each with and without a capital."""

    kind: Literal["lens"]
    final_norm: bool = Field(True, description="Norm inner states before reading them; the code of [flow] does not.")


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


class NormsProbe(ProbeSettings):
    """Norms of the image encoder's features, patch by patch."""

    kind: Literal["norms"]

    @property
    def needs(self) -> str | None:
        """See `ProbeSettings.needs`."""
        return "picture"


class PruningProbe(ProbeSettings):
    """Accuracy, work and time when the image's tokens are dropped in the last layers; over all questions asked."""

    kind: Literal["pruning"]
    last: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(each_once("number of layers"))
    ] = Field(description="In how many of the last layers there is no image; several numbers.")
    timed: int = Field(0, ge=0, description="On so many questions a task, decoding is timed with and without.")

    @model_validator(mode="after")
    def _intact_model_is_measured(self) -> "PruningProbe":
        if 0 not in self.last:
            raise ValueError("last: 0 is missing, the intact model with which the others are compared")
        return self

    @property
    def needs(self) -> str | None:
        """See `ProbeSettings.needs`."""
        return "picture"

    @property
    def layers_asked(self) -> dict[str, int]:
        """See `ProbeSettings.layers_asked`."""
        return {"last": max(self.last)}


Probe = Annotated[
    KnockoutProbe
    | LensProbe
    | WordsProbe
    | NormsProbe
    | PruningProbe
    | SimilarityProbe
    | AttentionProbe
    | AttentionMapProbe
    | VisualLensProbe
    | BudgetProbe
    | PlacesProbe,
    Field(discriminator="kind"),
]
