"""Loss without single cells of the image; [thesis]."""

from typing import Literal

from pydantic import Field

from vlmflow.probes.base import PictureProbe


class PlacesProbe(PictureProbe):
    """Loss of the reference answer without each cell of a grid over the picture."""

    kind: Literal["places"]
    grid: int = Field(6, ge=2, description="Cells a side.")
