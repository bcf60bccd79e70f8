"""Contextualisation: similarity between and within image and text; [phase], [thesis]."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.analysis.curve_features import CurveFeatures
from vlmflow.analysis.summaries import Averaging
from vlmflow.data.sampling import in_random_order
from vlmflow.models.size import Size
from vlmflow.probes.base import ImageProbe, ProbeTables
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward
from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, FEATURE_INTERVAL, MODEL_TASK, PROMPT, STATE

# The pairs of segments whose similarity is measured.
PAIRS = ("image and text", "within image", "within text")
# The phases of [phase], in their order.
PHASE_NAMES = ("alignment", "intra-modal encoding", "inter-modal encoding", "output preparation")

# The columns of slopes in the table of phases, in the order of `PAIRS`.
SLOPES = {
    "between": "between image and text",
    "within_image": "within the image",
    "within_text": "within the text",
}

PHASES = Table(
    "phases",
    MODEL_TASK
    | PROMPT
    | {
        "phase_count": Column(pl.Int32, "how many phases the curves support"),
        "agreement": Column(pl.Float64, "percent of the resamples that support as many", nullable=True),
        "phases": Column(pl.Int32, "into how many phases the layers are cut here"),
        "phase": Column(pl.Int32, "which of them, from 1"),
        "name": Column(pl.String, "of the phase, where four phases are as [phase] describes them"),
        "first_layer": Column(pl.Int32, "layer of its first state; −1 is the embedding"),
        "last_layer": Column(pl.Int32, "layer of its last state"),
    }
    | {name: Column(pl.Float64, f"change per layer of the similarity {what}") for name, what in SLOPES.items()}
    | {
        f"{name}_{bound}": Column(pl.Float64, f"{end} end of the 95 % interval of `{name}`", nullable=True)
        for name in SLOPES
        for bound, end in (("low", "lower"), ("high", "upper"))
    }
    | FEATURE_INTERVAL,
)


def _find_phases(rows: pl.DataFrame) -> pl.DataFrame:
    from .phases import find_phases

    return find_phases(rows)


class SimilarityProbe(ImageProbe):
    """Contextualisation: mean cosine similarity between and within image and text, at every layer."""

    chapter: ClassVar = Chapter.STATES
    table: ClassVar = Table(
        "similarity",
        ABOUT
        | PROMPT
        | {"pair": Column(pl.String, f"one of: {', '.join(PAIRS)}")}
        | STATE
        | {
            "raw": Column(pl.Float64, "mean cosine over all pairs of tokens"),
            "unrelated": Column(pl.Float64, "the same of tokens of unrelated questions"),
            "corrected": Column(pl.Float64, "raw − unrelated"),
        },
    )
    averaging: ClassVar = Averaging(
        by=("prompt", "pair", "quantity", "layer"), quantities=("raw", "unrelated", "corrected")
    )
    features: ClassVar = CurveFeatures(PHASES, _find_phases)

    kind: Literal["similarity"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text; it may contain {question}, {answer} and {object}.")
    partners: int = Field(
        4, ge=1, description="Number of unrelated questions whose tokens give the similarity that is subtracted."
    )

    @property
    def cache_size(self) -> int:
        """See `Probe.cache_size`; neighbouring questions are compared with the same unrelated questions."""
        return len(self.prompts) * (self.partners + 2)

    @property
    def uses_seed(self) -> bool:
        """See `Probe.uses_seed`; the order of questions decides which are compared."""
        return True

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        if column == "pair":
            return list(PAIRS)
        return list(self.prompts) if column == "prompt" else super().values_measured(column)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return Work(len(self.prompts) * forward(), 4 * len(self.prompts))

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """See `Probe.columns`; a question is compared with those before it."""
        return super().columns(in_random_order(rows, seed), tables, seed)
