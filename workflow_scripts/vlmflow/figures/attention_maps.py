"""Settings of the charts that can draw attention over the image, and their checks."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vlmflow.probes import AttentionMapProbe
from vlmflow.settings import each_once

Quantity = Annotated[
    Literal["share", "weight"], Field(description="Attention only: the share of the norms, or the attention weight.")
]
Target = Annotated[
    str | None,
    Field(description="Attention only: the segment whose attention is shown; by default the probe's first target."),
]
Layers = Annotated[
    Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=1), AfterValidator(each_once("layer"))] | None,
    Field(),
]


def target_shown(target: str | None, probe: AttentionMapProbe) -> str:
    """The segment whose attention a figure shows."""
    return target or probe.targets[0]


def check_attention(
    target: str | None, layers: list[int] | None, probe: AttentionMapProbe, key: str, name: str
) -> None:
    """Check that the probe measures the target and the layers of a figure.

    Args:
        target, layers: settings of the figure.
        probe: as the study file has it.
        key: of the figure, such as `figures.mine`.
        name: of the probe.

    Raises:
        ValueError: it does not measure them.
    """
    if target is not None and target not in probe.targets:
        raise ValueError(
            f"{key}.target: {target!r} is not measured by the probe {name!r}; add it to probes.{name}.targets"
        )
    if -1 in (layers or []):
        raise ValueError(f"{key}.layers: −1 is the embedding, which has no attention; the first layer is 0")


def refuse_target(target: str | None, key: str, name: str) -> None:
    """Refuse a target, for a probe that measures no attention.

    Raises:
        ValueError: the figure has a target.
    """
    if target is not None:
        raise ValueError(f"{key}.target: the probe {name!r} measures no attention; remove this key")


def refuse_layers(layers: list[int] | None, key: str, name: str) -> None:
    """Refuse layers, for a probe that measures no single layers.

    Raises:
        ValueError: the figure has layers.
    """
    if layers:
        raise ValueError(f"{key}.layers: the probe {name!r} measures no single layers; remove this key")
