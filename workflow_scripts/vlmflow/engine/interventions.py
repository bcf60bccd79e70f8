"""The changes that can be made to a forward: which attention is forbidden, and which states are replaced.

An intervention describes itself by `blocks` and `edits`; the engine calls these and does not depend on the kind.  A
kind of intervention is one class here and one entry of `INTERVENTIONS`.  Several interventions that are made together
are one: `Together`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from .modules import Module

# Where states can be replaced: the input of a decoder layer, the outputs of its attention's heads (the input of the
# output projection), and the outputs of its attention and its MLP.
Site = Literal["input", "head", "attention", "mlp"]
SITES: tuple[Site, ...] = ("input", "head", "attention", "mlp")


@dataclass(frozen=True)
class Edit:
    """States that replace the model's own at one site of a layer.

    Attributes:
        site: the site in the layer.
        positions: (P) at which states are replaced.
        states: (P, width) of the model, in the order of the positions, and (P, H, head width) at the site `head`; None
            for zeros.
        heads: (H) numbers of the heads at the site `head`; None at other sites.
    """

    site: Site
    positions: Tensor
    states: Tensor | None = None
    heads: Tensor | None = None


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

    @property
    def parts(self) -> Sequence["Intervention"]:
        """The changes that are made together: the intervention itself, or those of which it consists."""

    @property
    def heads(self) -> Tensor | None:
        """(H) numbers of the heads whose attention `blocks` forbids; None for all."""

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(queries, keys) True where a position of `queries` must not attend to one of `keys`; None where all may."""

    def edits(self) -> Sequence[Edit]:
        """The states that are replaced, at most once per site."""


class Change:
    """What kinds inherit: one part, in which no attention is forbidden and no states are replaced, unless a kind says
    so."""

    @property
    def parts(self) -> Sequence[Intervention]:
        """The intervention itself, unless it consists of others."""
        return (cast(Intervention, self),)

    @property
    def heads(self) -> Tensor | None:
        """None, for all heads."""
        return None

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # noqa: ARG002
        """None, since no attention is forbidden."""
        return None

    def edits(self) -> Sequence[Edit]:
        """No states are replaced."""
        return ()


@dataclass(frozen=True)
class AttentionKnockout(Change):
    """No position of `targets` attends to a position of `sources` in the layers `start` … `stop` − 1; [flow] section
    3.2.  With `only_heads` (H), this holds for these heads alone."""

    sources: Tensor
    targets: Tensor
    start: int
    stop: int
    only_heads: Tensor | None = None

    @property
    def changes(self) -> Tensor:
        """The targets."""
        return self.targets

    @property
    def heads(self) -> Tensor | None:
        """The heads that are named, or None for all."""
        return self.only_heads

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(queries, keys) True from each target to each source."""
        return torch.isin(queries, self.targets)[:, None] & torch.isin(keys, self.sources)


@dataclass(frozen=True)
class BlockedPairs(Change):
    """A position attends to another one only where the matrix `pairs` (N, N) is False, in the layers `start` …
    `stop` − 1: attention that is forbidden in any shape, for instance all but that of some edges."""

    pairs: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The positions that must not attend to some other one."""
        return self.pairs.any(dim=1).nonzero().flatten()

    def blocks(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(queries, keys) of the matrix."""
        return self.pairs[queries][:, keys]


@dataclass(frozen=True)
class ZeroAblation(Change):
    """The output of `module` is zero at `positions` in the layers `start` … `stop` − 1; [flow] appendix D."""

    module: Module
    positions: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The positions."""
        return self.positions

    def edits(self) -> Sequence[Edit]:
        """Zeros in place of what the module returns."""
        return (Edit(self.module, self.positions),)


@dataclass(frozen=True)
class HeadAblation(Change):
    """The output of the heads `only_heads` (H) is zero, or `mean` (H, head width), at `positions` in the layers
    `start` … `stop` − 1."""

    only_heads: Tensor
    positions: Tensor
    start: int
    stop: int
    mean: Tensor | None = None

    @property
    def changes(self) -> Tensor:
        """The positions."""
        return self.positions

    def edits(self) -> Sequence[Edit]:
        """Zeros, or the mean, in place of the heads' outputs."""
        states = None if self.mean is None else self.mean.expand(len(self.positions), -1, -1)
        return (Edit("head", self.positions, states, self.only_heads),)


@dataclass(frozen=True)
class StatePatch(Change):
    """At one site of the layer `start`, `states` (positions, width), for instance those of another run, stand in place
    of the model's own at `positions`: activation patching.  At the site `head`, states are (positions, H, head width)
    of the heads `only_heads` (H)."""

    positions: Tensor
    states: Tensor
    start: int
    site: Site = "input"
    only_heads: Tensor | None = None

    @property
    def stop(self) -> int:
        """The next layer."""
        return self.start + 1

    @property
    def changes(self) -> Tensor:
        """The positions."""
        return self.positions

    def edits(self) -> Sequence[Edit]:
        """The given states in place of the model's own."""
        return (Edit(self.site, self.positions, self.states, self.only_heads),)


@dataclass(frozen=True)
class Together(Change):
    """Several interventions in one forward, each in its own layers: edges in several spans of layers, or states of
    several layers."""

    changed: Sequence[Intervention]

    @property
    def parts(self) -> Sequence[Intervention]:
        """The interventions of which it consists."""
        return [part for each in self.changed for part in each.parts]

    @property
    def start(self) -> int:
        """The first layer that any of them changes."""
        return min((each.start for each in self.changed), default=0)

    @property
    def stop(self) -> int:
        """The layer after the last one that any of them changes."""
        return max((each.stop for each in self.changed), default=0)

    @property
    def changes(self) -> Tensor:
        """The positions that any of them changes itself."""
        if not self.changed:
            return torch.empty(0, dtype=torch.long)
        return torch.cat([each.changes for each in self.changed]).unique()


# The kinds of interventions; docs/engine.md describes each.
INTERVENTIONS = (AttentionKnockout, BlockedPairs, ZeroAblation, HeadAblation, StatePatch, Together)
