"""Contextualisation: similarity between and within image and text; [phase], [thesis]."""

from typing import Literal

from pydantic import Field

from vlmflow.probes.base import PictureProbe
from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts


class SimilarityProbe(PictureProbe):
    """Contextualisation: mean cosine similarity between and within picture and text, at every layer."""

    kind: Literal["similarity"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text, in which {question}, {answer}, {object} stand.")
    partners: int = Field(
        4, ge=1, description="With the tokens of so many unrelated questions the similarity is compared."
    )
