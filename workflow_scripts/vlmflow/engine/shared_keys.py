"""Layers that attend with keys and values of an earlier layer, which hands them on in a dictionary (Gemma 4)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vlmflow.errors import InterventionError

from .internals import KVSharingDict
from .modules import find_module


def kind_of_keys(layer: nn.Module) -> str | None:
    """The name under which a layer's attention hands on keys, or takes them; None if the model shares no keys."""
    try:
        return getattr(find_module(layer, "attention"), "layer_type", None)
    except InterventionError:  # its attention is not found, so that nothing is known of it
        return None


@dataclass
class SharedKeys:
    """The keys and values of one batch that earlier layers hand on to later ones."""

    handed_on: KVSharingDict = field(default_factory=KVSharingDict)

    def arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A layer's arguments, with the keys of this batch in place of the recorded ones."""
        return {
            name: self.handed_on if isinstance(value, KVSharingDict) else value for name, value in arguments.items()
        }

    def complete(self, layer: nn.Module, recorded: tuple[Tensor, Tensor], rows: int) -> None:
        """Give a layer that takes keys those of all rows: rows that joined later did not run the layer that hands them
        on, and have its recorded ones.

        Args:
            layer: the one that takes keys.
            recorded: keys and values of the layer that hands them on, in the form in which it does.
            rows: number of rows of the batch.
        """
        kind = str(kind_of_keys(layer))
        own = self.handed_on.get(kind)
        missing = rows - (0 if own is None else len(own[0]))
        added = tuple(part.expand(missing, -1, -1, -1) for part in recorded)
        self.handed_on[kind] = added if own is None else tuple(map(_below, own, added))


def _below(own: Tensor, added: Tensor) -> Tensor:
    return torch.cat([own, added.to(own)]) if len(added) else own
