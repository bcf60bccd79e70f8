"""Layers without attention, as hybrids have them: convolutions and linear attention, which carry a state from position
to position.

A knockout does nothing in them.  They are replayed from the state that they carry into the first replayed position,
which the layer itself computes from its recorded inputs.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedModel

from .internals import DynamicLayer, LinearAttentionLayer
from .recording import LayerCall, arguments_at

# Linear attention is computed in chunks of so many positions, from the first one on, and in single precision: replays
# begin with a chunk, so that they round as the model itself.
CHUNK = 64


def recording_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache that keeps all keys, and the states of layers without attention.

    One made from the configuration would drop keys outside of a sliding window; a plain one has no layers of other
    kinds.
    """
    cache = DynamicCache()
    if recurrent_layers(model):
        made = DynamicCache(config=model.config)
        cache.layers = [layer if is_recurrent(layer) else DynamicLayer() for layer in made.layers]
    return cache


def recurrent_layers(model: PreTrainedModel) -> frozenset[int]:
    """The numbers of the decoder's layers without attention."""
    kinds = getattr(model.config.get_text_config(decoder=True), "layer_types", None) or ()
    return frozenset(number for number, kind in enumerate(kinds) if kind in RECURRENT)


# What configurations call such layers.
RECURRENT = ("linear_attention", "conv")


def is_recurrent(layer: object) -> bool:
    """Whether the layer of a cache has a state and no keys."""
    return isinstance(layer, LinearAttentionLayer) and not isinstance(layer, DynamicLayer)


def _empty_like(recorded: Cache) -> DynamicCache:
    """An empty cache with layers of the same kinds."""
    cache = DynamicCache()
    cache.layers = [
        type(layer)(number_of_states=layer.number_of_states) if is_recurrent(layer) else DynamicLayer()
        for layer in recorded.layers
    ]
    return cache


@dataclass
class CarriedStates:
    """The states that layers carry into one position, computed once per layer.

    Attributes:
        start: the position.
        end: the position after the last one that is replayed.
    """

    start: int
    end: int
    _before: dict[int, DynamicCache] = field(default_factory=dict)

    @property
    def aligned(self) -> int:
        """The first position of a chunk, from which on layers are replayed."""
        first = self.start - self.start % CHUNK
        # One position alone would be computed in another way, as when a model decodes.
        return max(0, first - CHUNK) if self.end - first == 1 else first

    def inputs(self, layer: nn.Module, call: LayerCall, number: int, hidden: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """(states, other arguments) with which a layer is called for the positions from `aligned` on.

        Args:
            layer: one without attention.
            call: its recorded call.
            number: of the layer.
            hidden: (rows, positions from `start` on, width) its inputs.
        """
        rows = len(hidden)
        recorded = call.hidden[:, self.aligned : self.start].expand(rows, -1, -1).to(hidden.device)
        arguments = arguments_at(call, torch.arange(self.aligned, self.end), self._cache(layer, call, number, rows))
        return torch.cat([recorded, hidden], dim=1), arguments

    def _cache(self, layer: nn.Module, call: LayerCall, number: int, rows: int) -> DynamicCache:
        """A cache with the state that each row begins with."""
        if number not in self._before:
            cache = _empty_like(next(value for value in call.arguments.values() if isinstance(value, Cache)))
            if self.aligned:
                layer(call.hidden[:, : self.aligned], **arguments_at(call, torch.arange(self.aligned), cache))
            self._before[number] = cache
        before = self._before[number]
        cache = _empty_like(before)
        cache.layers[number] = kept = copy.copy(before.layers[number])
        for name in ("conv_states", "recurrent_states"):
            states = getattr(kept, name).items()
            # Layers change their states in place.
            setattr(kept, name, {each: None if state is None else _for_rows(state, rows) for each, state in states})
        kept.has_previous_state = dict(kept.has_previous_state)
        return cache


def _for_rows(state: Tensor, rows: int) -> Tensor:
    return state.expand(rows, *state.shape[1:]).clone()
