"""Answers, work and time without the image's tokens in the last layers; [flow] appendix F."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.probes.base import ProbeSettings
from vlmflow.settings import each_once


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
