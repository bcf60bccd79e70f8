"""The probes: each one measurement, in a folder of its own; `PROBES` lists them."""

from typing import Annotated

from pydantic import Field

from .attention import AttentionProbe
from .attention_map import AttentionMapProbe
from .base import AskedProbe
from .budget import BudgetProbe
from .knockout import KnockoutProbe, Sinks
from .lens import LensProbe
from .norms import NormsProbe
from .occlusion import PlacesProbe
from .pruning import PruningProbe
from .similarity import SimilarityProbe
from .visual_lens import VisualLensProbe
from .words import WordsProbe

PROBES = (
    KnockoutProbe,
    LensProbe,
    WordsProbe,
    NormsProbe,
    PruningProbe,
    SimilarityProbe,
    AttentionProbe,
    AttentionMapProbe,
    VisualLensProbe,
    BudgetProbe,
    PlacesProbe,
)
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

__all__ = [
    "PROBES",
    "AskedProbe",
    "AttentionMapProbe",
    "AttentionProbe",
    "BudgetProbe",
    "KnockoutProbe",
    "LensProbe",
    "NormsProbe",
    "PlacesProbe",
    "Probe",
    "PruningProbe",
    "SimilarityProbe",
    "Sinks",
    "VisualLensProbe",
    "WordsProbe",
]
