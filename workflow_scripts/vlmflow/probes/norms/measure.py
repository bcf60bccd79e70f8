"""Norms of the image encoder's features, by which its attention sinks are known; [flow] appendix E."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from vlmflow.errors import ModelError
from vlmflow.models.model import LanguageModel
from vlmflow.prompts.build import Prompt


def norms(vlm: LanguageModel, prompt: Prompt) -> pl.DataFrame:
    """One row: the norms of the features behind the picture's tokens, as a list, null where a token is no patch."""
    from vlmflow.models.model import VisionLanguageModel

    if not isinstance(vlm, VisionLanguageModel):
        raise ModelError("a model that reads captions has no image encoder")
    return pl.DataFrame({"norms": [vlm.feature_norms(prompt)]}, schema={"norms": pl.List(pl.Float64)})


def sinks(norms_of_tokens: Sequence[float | None], threshold: float) -> list[int]:
    """Numbers of the tokens among a picture's whose feature has a norm above the threshold."""
    return [number for number, norm in enumerate(norms_of_tokens) if norm is not None and norm > threshold]


def threshold_of(norms_of_pictures: pl.Series, quantile: float) -> float:
    """The norm below which this share of all patches lies; each picture's norms are one entry of the series."""
    return float(np.quantile(norms_of_pictures.explode().drop_nulls().to_numpy(), quantile))
