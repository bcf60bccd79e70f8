"""Alignment of the states to the unembedding: the logit lens at the positions of segments; [phase]."""

from typing import Annotated, ClassVar, Literal, get_args

import polars as pl
from pydantic import AfterValidator, Field

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.probes.base import ImageProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import READ, Work, forward, segment_tokens, unembedding
from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, PROMPT, STATE

# The segments whose positions can be read.
Segment = Literal["image", "question", "template", "last"]


class OutputLensProbe(ImageProbe):
    """Logit lens at the positions of segments: entropy, and agreement with the model's output, at every layer."""

    chapter: ClassVar = Chapter.DECODED
    table: ClassVar = Table(
        "output lens",
        ABOUT
        | PROMPT
        | {"segment": Column(pl.String, "image, question, template or last")}
        | STATE
        | {
            "entropy": Column(pl.Float64, "bits, of the predicted next token, mean over the segment's positions"),
            "agreement": Column(
                pl.Float64, "percent of the positions with the same most probable token as after the last layer"
            ),
        },
    )
    averaging: ClassVar = Averaging(
        by=("prompt", "segment", "quantity", "layer"),
        quantities=("entropy", "agreement"),
        line="segment",
        # Prompts that do not apply are skipped too, and have no line.
        line_of={segment: segment for segment in get_args(Segment)},
    )

    kind: Literal["output-lens"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text; it may contain {question}, {answer} and {object}.")
    segments: Annotated[list[Segment], AfterValidator(each_once("segment"))] = Field(
        ["image", "question", "last"], min_length=1, description="The segments at whose positions states are read."
    )

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        return list(self.prompts) if column == "prompt" else super().values_measured(column)

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        tokens = sum(segment_tokens(segment, size) for segment in self.segments)
        prompts = len(self.prompts)
        return Work(prompts * (forward() + tokens * unembedding(size)), prompts * (1 + tokens / READ))
