"""What a recording of one ordinary forward holds, and the positions of what layers are called with."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from .masks import Masks

Layers = nn.ModuleList | list[nn.Module]


@dataclass(frozen=True)
class LayerCall:
    """The arguments of one decoder layer's call, and the keys and values with which it attended.

    Attributes:
        hidden: (1, N, width) the states that it was called with.
        arguments: all others, by name.
        keys, values: (1, heads, N, head width); None for a layer without attention.
        takes_keys: whether they are those of an earlier layer, which handed them on.
    """

    hidden: Tensor
    arguments: dict[str, Any]
    keys: Tensor | None
    values: Tensor | None
    takes_keys: bool = False

    @property
    def mask(self) -> Tensor | None:
        """The mask as the model passed it: boolean, additive, or None for plain causal attention, as information also
        flows in a layer without attention."""
        return None if self.is_recurrent else self.arguments.get("attention_mask")

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer has no attention, but carries a state from position to position."""
        return self.keys is None

    @property
    def keys_and_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer with attention."""
        if self.keys is None or self.values is None:
            raise AssertionError("a layer without attention has no keys")
        return self.keys, self.values


@dataclass(frozen=True)
class Recording:
    """The record of one ordinary forward of N positions.

    Attributes:
        calls: one for each layer.
        output: (1, N, width), the last layer's.
        changed: (N) True where the model itself changes states between two layers, which a replay does not repeat.
    """

    calls: list[LayerCall]
    output: Tensor
    changed: Tensor

    @property
    def length(self) -> int:
        """N, the number of positions."""
        return self.output.shape[1]

    @cached_property
    def may_attend(self) -> Masks:
        """Which positions attend to which in each layer, on the device of the output."""
        masks = [call.mask for call in self.calls]
        return Masks.read(masks, self.length, self.output.device, self.recurrent)

    @property
    def recurrent(self) -> frozenset[int]:
        """The numbers of the layers without attention."""
        return frozenset(number for number, call in enumerate(self.calls) if call.is_recurrent)

    def states(self) -> Iterator[Tensor]:
        """The states (1, N, width) after the embedding and after each layer, not normed."""
        yield from (call.hidden for call in self.calls)
        yield self.output

    def hidden(self, position: int) -> Tensor:
        """(layers + 1, width): the state of a position after the embedding and after each layer, not normed."""
        # The layers of a large model may lie on several devices.
        states = [call.hidden[0, position].to(self.output.device) for call in self.calls]
        return torch.stack([*states, self.output[0, position]])


def states_of(output: Tensor | tuple) -> Tensor:
    """The states out of a decoder layer's output."""
    return output[0] if isinstance(output, tuple) else output


def pick_positions(value: Any, length: int, kept: Tensor) -> Any:
    """A layer's argument, cut to the positions `kept` wherever it runs over all `length` positions."""
    if isinstance(value, dict):
        return {key: pick_positions(item, length, kept) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(pick_positions(item, length, kept) for item in value)
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    axis = value.ndim - (2 if value.ndim >= 3 else 1)  # rotary phases (…, N, width), position ids (…, N)
    if value.shape[axis] != length:
        return value
    return value.index_select(axis, kept.to(value.device))


def arguments_at(call: LayerCall, positions: Tensor, cache: Cache | None) -> dict[str, Any]:
    """A layer's recorded arguments for some positions, with another cache, and without its mask."""
    kept = {name: value for name, value in call.arguments.items() if name != "attention_mask"}
    kept = pick_positions(kept, call.hidden.shape[1], positions) | {"attention_mask": None}
    return {name: cache if isinstance(value, Cache) else value for name, value in kept.items()}
