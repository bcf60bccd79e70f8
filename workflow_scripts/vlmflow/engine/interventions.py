"""The changes that can be made to a forward: which attention is forbidden, and which states are replaced.

An intervention describes itself by `blocks` and `edits`; the engine calls these and does not depend on the kind.  A
kind of intervention is one class here and one entry of `INTERVENTIONS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from .modules import Module

# Where states can be replaced: the input of a decoder layer, and the outputs of its attention and its MLP.
Site = Literal["input", "attention", "mlp"]
SITES: tuple[Site, ...] = ("input", "attention", "mlp")


@dataclass(frozen=True)
class Edit:
    """States that replace the model's own at one site of a layer.

    Attributes:
        site: the site in the layer.
        positions: (P) at which states are replaced.
        states: (P, width) of the model, in the order of the positions; None for zeros.
    """

    site: Site
    positions: Tensor
    states: Tensor | None = None


class Intervention(Protocol):
    """A change to a forward in the layers `start` … `stop` − 1."""

    @property
    def start(self) -> int:
        """The first layer that is changed."""

    @property
    def stop(self) -> int:
        """The layer after the last one that is changed."""

    @property
    def changes(self) -> Tensor:
        """(P) the positions that the intervention itself changes, in any order."""

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(queries, keys) True where a position of `queries` must not attend to one of `keys`; None where all may."""

    def edits(self) -> Sequence[Edit]:
        """The states that are replaced, at most once per site."""


@dataclass(frozen=True)
class AttentionKnockout:
    """No position of `targets` attends to a position of `sources` in the layers `start` … `stop` − 1."""

    sources: Tensor
    targets: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The targets."""
        return self.targets

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(queries, keys) True from each target to each source."""
        return torch.isin(queries, self.targets)[:, None] & torch.isin(keys, self.sources)

    def edits(self) -> Sequence[Edit]:
        """No states are replaced."""
        return ()


@dataclass(frozen=True)
class ZeroAblation:
    """The output of `module` is zero at `positions` in the layers `start` … `stop` − 1; [flow] appendix D."""

    module: Module
    positions: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The positions."""
        return self.positions

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # noqa: ARG002
        """None, since no attention is forbidden."""
        return None

    def edits(self) -> Sequence[Edit]:
        """Zeros in place of what the module returns."""
        return (Edit(self.module, self.positions),)


@dataclass(frozen=True)
class StatePatch:
    """The layer `start` is called with `states` (positions, width), for instance those of another run, at `positions`:
    activation patching."""

    positions: Tensor
    states: Tensor
    start: int

    @property
    def stop(self) -> int:
        """The next layer."""
        return self.start + 1

    @property
    def changes(self) -> Tensor:
        """The positions."""
        return self.positions

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # noqa: ARG002
        """None, since no attention is forbidden."""
        return None

    def edits(self) -> Sequence[Edit]:
        """The given states in place of the layer's input."""
        return (Edit("input", self.positions, self.states),)


# The kinds of interventions; docs/engine.md describes each.
INTERVENTIONS = (AttentionKnockout, ZeroAblation, StatePatch)
