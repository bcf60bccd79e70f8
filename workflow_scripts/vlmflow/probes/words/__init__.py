"""The words that the question's positions predict; [flow] appendices D and K."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, Tag, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.edges import EdgeGroup
from vlmflow.errors import InterventionError, ModelError
from vlmflow.models.size import Size
from vlmflow.probes.base import SampleProbe, parse_edges
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import READ, Work, forward, question_tokens, text_share, unembedding
from vlmflow.settings import WINDOW_KIND, Edges, TaggedShare, each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, WINDOW

if TYPE_CHECKING:  # it imports torch
    from vlmflow.models.vision_language import LanguageModel


Layers = Annotated[int, Field(ge=1)]


class WordsProbe(SampleProbe):
    """The words that the question's positions predict at the last layer, without some modules or edges."""

    chapter: ClassVar = Chapter.KNOCKOUT
    table: ClassVar = Table(
        "words",
        ABOUT
        | {"intervention": Column(pl.String, "attention, mlp, or an edge that is knocked out")}
        | WINDOW
        | {"similarity": Column(pl.Float64, "Jaccard, of the predicted words to the intact model's, from 0 to 1")},
    )
    averaging: ClassVar = Averaging(
        by=("intervention", "window", "layer"), quantities=("similarity",), line="intervention"
    )

    kind: Literal["words"]
    modules: Annotated[list[Literal["attention", "mlp"]], AfterValidator(each_once("module"))] = Field(
        default_factory=list, description="Modules whose output is set to zero at these positions."
    )
    edges: Edges | None = Field(None, description="Edges that are knocked out.")
    window: Annotated[Annotated[Layers, Tag("[layers]")] | TaggedShare, WINDOW_KIND] = Field(
        9,
        description="Number of layers: from layer l on for modules; around layer l, and odd, for edges; or {share: …} "
        "of the depth, the nearest odd number.",
    )
    top: int = Field(10, ge=1, description="Number of words per position.")
    pooled: bool = Field(
        False, description="Compare one set of words for the whole question instead of one set per position."
    )

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """See `Probe.edge_groups`."""
        return parse_edges(self.edges)

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {"window": self.window} if isinstance(self.window, int) else {}

    def check_model(self, name: str, vlm: "LanguageModel") -> None:
        """See `Probe.check_model`; its layers must have the modules."""
        from vlmflow.engine.modules import find_module

        super().check_model(name, vlm)
        for module in self.modules:
            try:
                find_module(vlm.layers[0], module)
            except InterventionError as error:
                raise ModelError(f"probes.{name}.modules: {error}") from error

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        interventions, positions = len(self.modules) + len(self.parsed_edges), question_tokens()
        replayed = size.layers * text_share(size) / 2 + positions * unembedding(size)
        return Work(forward() + interventions * replayed, 3 + interventions * size.layers * positions / READ)

    @model_validator(mode="after")
    def _something_is_knocked_out(self) -> "WordsProbe":
        if not self.modules and not self.edges:
            raise ValueError("modules, edges: give at least one of the two; without them there is nothing to knock out")
        if self.edges and isinstance(self.window, int) and self.window % 2 == 0:
            raise ValueError(
                f"window: {self.window} is even; give an odd number, since the window of an edge is centred at a layer"
            )
        for edge in self.parsed_edges:
            if edge.target in ("template", "last"):
                raise ValueError(
                    f"edges: '{edge}' changes nothing at the question's positions, which stand before {edge.target!r}"
                )
        return self
