"""Norms of the image encoder's features, which identify its attention sinks; [flow] appendix E."""

import polars as pl

from vlmflow.models.vision_language import VisionLanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.norms import NormsProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt


def measure(probe: NormsProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """A row of the table `norms` for one question; see `Probe.measure`."""
    related = None if question.patches is None else list(question.patches.related)
    row = norms(context.image_model, context.prompt(question))
    return row.with_columns(
        related=pl.Series([related], dtype=pl.List(pl.Int32)),
        above=pl.lit(probe.above, pl.Float64),
        quantile=pl.lit(probe.quantile, pl.Float64),
    )


def norms(vlm: VisionLanguageModel, prompt: Prompt) -> pl.DataFrame:
    """One row: the norms of the features behind the image's tokens, as a list; null for a token that is no patch."""
    return pl.DataFrame({"norms": [vlm.feature_norms(prompt)]}, schema={"norms": pl.List(pl.Float64)})
