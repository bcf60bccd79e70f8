"""The probes: each is one kind of measurement, in a folder of its own; `PROBES` lists them."""

from typing import Annotated, get_args

from pydantic import Field

from .attention import AttentionProbe
from .attention_map import AttentionMapProbe
from .base import Probe
from .budget import BudgetProbe
from .heads import HeadsProbe
from .knockout import KnockoutProbe
from .lens import LensProbe
from .logit_attribution import LogitAttributionProbe
from .norms import NormsProbe
from .occlusion import OcclusionProbe
from .output_lens import OutputLensProbe
from .patching import PatchingProbe
from .pathway import PathwayProbe
from .pruning import PruningProbe
from .similarity import SimilarityProbe
from .states import StatesProbe
from .visual_lens import VisualLensProbe
from .words import WordsProbe

# The registry of all probes; mypy understands a union only if it is written out.
AnyProbe = Annotated[
    KnockoutProbe
    | LensProbe
    | WordsProbe
    | NormsProbe
    | PruningProbe
    | SimilarityProbe
    | OutputLensProbe
    | AttentionProbe
    | AttentionMapProbe
    | VisualLensProbe
    | BudgetProbe
    | OcclusionProbe
    | HeadsProbe
    | PathwayProbe
    | PatchingProbe
    | LogitAttributionProbe
    | StatesProbe,
    Field(discriminator="kind"),
]
PROBES: tuple[type[Probe], ...] = get_args(get_args(AnyProbe)[0])


def probe_class(kind: str) -> type[Probe]:
    """The class of a kind of probe; `kind` is its name in the study file."""
    return next(each for each in PROBES if each.kind_name() == kind)


__all__ = [
    "PROBES",
    "AnyProbe",
    "AttentionMapProbe",
    "AttentionProbe",
    "BudgetProbe",
    "HeadsProbe",
    "KnockoutProbe",
    "LensProbe",
    "LogitAttributionProbe",
    "NormsProbe",
    "OcclusionProbe",
    "OutputLensProbe",
    "PatchingProbe",
    "PathwayProbe",
    "Probe",
    "PruningProbe",
    "SimilarityProbe",
    "StatesProbe",
    "VisualLensProbe",
    "WordsProbe",
    "probe_class",
]
