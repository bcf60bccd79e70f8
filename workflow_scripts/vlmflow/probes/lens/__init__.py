"""Logit lens at the last position; [flow] equation 8."""

from typing import Literal

from pydantic import Field

from vlmflow.probes.base import ProbeSettings


class LensProbe(ProbeSettings):
    """Logit lens at the last position: the answer and the false option, each with and without a capital."""

    kind: Literal["lens"]
    final_norm: bool = Field(True, description="Norm inner states before reading them; the code of [flow] does not.")
