"""Logit lens on the image's tokens; [thesis]."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.probes.base import PictureProbe
from vlmflow.settings import each_once


class VisualLensProbe(PictureProbe):
    """Logit lens on the picture's tokens: which words they decode to, at every layer."""

    kind: Literal["visual-lens"]
    top: int = Field(5, ge=1, description="Words a patch, among which names and attributes are looked for.")
    instructions: Annotated[list[Literal["right", "wrong", "none"]], AfterValidator(each_once("instruction"))] = Field(
        ["right", "wrong", "none"], description="The question, that of another picture, none at all."
    )
    places: Annotated[list[Literal["after", "before"]], AfterValidator(each_once("place"))] = Field(
        ["after", "before"],
        min_length=1,
        description="Where the instruction stands; a causal decoder's picture cannot see what stands after it.",
    )
    examples: int = Field(4, ge=0, description="Of so many questions a task, every patch's word is kept.")

    @model_validator(mode="after")
    def _right_one_is_measured(self) -> "VisualLensProbe":
        if "right" not in self.instructions:
            raise ValueError("instructions: right is missing, with which the others are compared")
        return self
