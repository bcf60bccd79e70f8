"""Three ways to leave tokens out of a forward; the other tokens keep their positions in all of them.

- `replay_without` computes, out of a recording, the states of a forward without the tokens in any layer.  It is for few
  sets of many tokens: each set costs one forward, which is shorter by the tokens that are left out.
- `attention_to` returns the knockout that hides tokens from all others in some layers, to be replayed.  It is for many
  sets, sets of few tokens, or tokens that are left out in the last layers only: all sets share batches, and only the
  positions behind the tokens are computed.
- `truncated` makes the model itself run without the tokens in its last layers, with shorter states and a shorter cache.
  It is for measurements of time and memory, which need the real computation; the model can decode with it as well.

Tests check that they agree: no other position attends to the states that left-out tokens would still compute.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vlmflow.errors import InterventionError, NotApplicableError

from .hooks import removed_after
from .interventions import AttentionKnockout
from .prefix import OwnKeys
from .recording import Layers, Recording, arguments_at, pick_positions, states_of
from .shared_keys import SharedKeys


@torch.inference_mode()
def replay_without(layers: Layers, recording: Recording, dropped: Tensor, positions: Tensor) -> Tensor:
    """(positions, width) states after the last layer, not normed, of a forward without the positions `dropped`.

    Args:
        layers: the decoder's.
        recording: of the intact forward.
        dropped: in any order; may be empty.
        positions: where states are read, counted as in the intact forward; none of those that are dropped.

    Raises:
        InterventionError: the model itself changes states between its layers, which would be lost.
    """
    if recording.changed.any():
        raise InterventionError("the model changes states between its layers, so no position can be left out of them")
    kept = kept_positions(recording.length, dropped)
    hidden = recording.calls[0].hidden.index_select(1, kept.to(recording.calls[0].hidden.device))
    shared = SharedKeys()
    for layer, call in zip(layers, recording.calls, strict=True):
        # A layer without attention runs over all positions that are left, and needs no cache.
        arguments = arguments_at(call, kept, None if call.is_recurrent else OwnKeys(0))
        if call.mask is not None:
            arguments["attention_mask"] = _columns(call.mask, kept).index_select(2, kept.to(call.mask.device))
        arguments = shared.arguments(arguments)
        hidden = states_of(layer(hidden.to(call.hidden.device), **arguments))
    indices = torch.searchsorted(kept, positions).to(hidden.device)
    return hidden[0, indices]


def attention_to(recording: Recording, sources: Tensor, start: int, stop: int) -> AttentionKnockout:
    """The knockout of all attention from other positions to `sources` in the layers `start` … `stop` − 1.

    Raises:
        InterventionError: no other position attends to them.
        NotApplicableError: layers without attention carry them to other positions.
    """
    if recording.recurrent:
        raise NotApplicableError(
            "does not apply: layers without attention carry tokens on, and no knockout hides them there"
        )
    return AttentionKnockout(sources, attending_positions(recording, sources), start, stop)


def attending_positions(recording: Recording, sources: Tensor) -> Tensor:
    """The positions outside of `sources` that attend to any of them in some layer: later ones, and also earlier ones
    where positions of a block attend to each other.

    Raises:
        InterventionError: there are none.
    """
    attending = recording.may_attend.in_any_layer[:, sources].any(dim=1)
    attending[sources] = False
    if not attending.any():
        raise InterventionError("no other position attends to these positions, so there is nothing to hide")
    return attending.nonzero().flatten()


@contextmanager
def truncated(layers: Layers, dropped: Tensor, last: int) -> Iterator[None]:
    """In the block, the decoder runs its `last` layers without the positions `dropped` of the prompt, both when it
    reads the prompt and when it decodes after it.  Keys and values have to be kept in a plain cache: one with sliding
    windows discards other tokens than the dropped ones.

    Args:
        layers: the decoder's.
        dropped: positions of the prompt.
        last: number of layers, from 0.

    Raises:
        ValueError: there are fewer layers, or all of them are requested; in that case leave the tokens out of the
            prompt.
    """
    if not 0 <= last < len(layers):
        raise ValueError(
            f"last {last}: tokens can be dropped in the last 0 to {len(layers) - 1} of {len(layers)} layers"
        )
    first = len(layers) - last
    truncation = _Truncation(layers[first] if last else None, dropped)
    with removed_after(
        layer.register_forward_pre_hook(truncation.before, with_kwargs=True) for layer in layers[first:]
    ):
        yield


@dataclass
class _Truncation:
    """Shortens the arguments of layers.

    Attributes:
        first: the layer that is called with all positions.
        dropped: positions.
        length: of the prompt, known once it is read.
    """

    first: nn.Module | None
    dropped: Tensor
    length: int = field(default=0, init=False)

    def before(self, layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """A layer's arguments, without the dropped positions."""
        hidden, *rest = args
        mask = kwargs.get("attention_mask")
        if hidden.shape[1] == 1:  # while the model decodes, only keys have to be left out
            if mask is None:
                return args, kwargs
            return args, kwargs | {"attention_mask": _columns(mask, kept_positions(mask.shape[3], self.dropped))}
        if layer is self.first:
            self.length = hidden.shape[1]
        kept = kept_positions(self.length, self.dropped)
        if layer is self.first:
            hidden = hidden.index_select(1, kept.to(hidden.device))
        others = {name: value for name, value in kwargs.items() if name != "attention_mask"}
        shorter = None if mask is None else _columns(mask, kept).index_select(2, kept.to(mask.device))
        return (hidden, *rest), pick_positions(others, self.length, kept) | {"attention_mask": shorter}


def kept_positions(length: int, dropped: Tensor) -> Tensor:
    """The positions of a prompt without those that are dropped, in increasing order."""
    kept = torch.ones(length, dtype=torch.bool)
    kept[dropped] = False
    return kept.nonzero().flatten()


def _columns(mask: Tensor, kept: Tensor) -> Tensor:
    return mask.index_select(3, kept.to(mask.device))


def work_share(length: int, dropped: int, layers: int, last: int) -> float:
    """The number of token-layers of a prompt of `length` positions, without `dropped` of them in the `last` layers, as
    a share of the number with all positions."""
    return 1 - dropped * last / (length * layers)
