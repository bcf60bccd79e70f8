"""Attention weights and norms as maps over the image; [thesis]."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vlmflow.probes.base import PictureProbe
from vlmflow.settings import each_once


class AttentionMapProbe(PictureProbe):
    """Which patches the instruction looks at, at every layer, by attention weights and by norms."""

    kind: Literal["attention-map"]
    targets: Annotated[
        list[Literal["question", "objects", "options", "template", "last"]], AfterValidator(each_once("target"))
    ] = Field(["question", "last"], min_length=1, description="Who looks.")
