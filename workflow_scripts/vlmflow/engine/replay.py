"""Replay interventions on the part of a recorded forward that they can change.

In a causal decoder, blocking attention *to* some positions, or muting modules at them, changes nothing before the first
of them and nothing below the first layer concerned.  So one ordinary forward is recorded, and each intervention becomes
a row that joins, at its first layer, the recorded state of the positions that it can change and that are read in the
end.  The decoder layers are called as they are, with the arguments that the model itself passed; nothing about an
architecture is written here.
"""

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from vlmflow.errors import InterventionError

from .batch_size import Room
from .interventions import Intervention, Knockout, Module, ModuleKnockout, check_layers, muting
from .prefix import SHARED_PREFIX, Prefix, calling, set_prefix
from .record import Layers, Recording, states_of

# Rows × suffix tokens of one batch, and rows × all tokens over this: bounds the memory of states, masks and keys.
TOKENS_PER_BATCH = 4096
PREFIX_TOKENS_PER_TOKEN = 32


@torch.inference_mode()
def replay(
    layers: Layers,
    recording: Recording,
    interventions: Sequence[Intervention],
    *,
    positions: Tensor | None = None,
    room: Room | None = None,
    share_prefix: bool = False,
) -> Tensor:
    """States after the last layer under each intervention, (interventions, positions, width), not normed.

    Equal to a full forward per intervention; see `plain`.

    Args:
        layers: the decoder's.
        recording: of the intact forward.
        interventions: in any order.
        positions: where states are read, counted from 0; the last position alone by default.
        room: rows × suffix tokens that run together; bounds the memory, not the result.
        share_prefix: attend to the prefix once for all rows instead of copying it for each; see `can_share`.

    Raises:
        InterventionError: an intervention names no positions or layers, or leaves a position nothing to attend to.
    """
    room = room or Room(TOKENS_PER_BATCH)
    length = recording.length
    read = torch.tensor([length - 1]) if positions is None else positions
    masks = {
        id(mask): allowed(mask, length, recording.output.device) for mask in (call.mask for call in recording.calls)
    }
    on_cpu = {key: mask.cpu() for key, mask in masks.items()}
    may_attend = torch.stack(list(on_cpu.values())).any(dim=0)
    for intervention in interventions:
        check_layers(intervention, len(layers))
        if isinstance(intervention, Knockout):
            window = {id(call.mask) for call in recording.calls[intervention.start : intervention.stop]}
            _check_masks(intervention, may_attend, [on_cpu[mask] for mask in window])
    end = last_needed(may_attend, int(read.max()) + 1)
    first = functools.cache(lambda target: first_changed(may_attend, target))
    starts = [first(int(intervention.changes.min())) for intervention in interventions]
    # What an intervention cannot change is as it was recorded.
    output = recording.output[:, read.to(recording.output.device)].repeat(len(interventions), 1, 1)
    for start in sorted({start for start in starts if start < end}):
        if recording.changed[start:end].any():
            raise InterventionError(
                "the model changes states between its layers at positions that this intervention reaches"
            )
        # Rows in the order in which they join, so that at each layer the running ones are the first of them.
        order = sorted((i for i, s in enumerate(starts) if s == start), key=lambda i: interventions[i].start)
        row = max(end - start, end // PREFIX_TOKENS_PER_TOKEN)
        changeable = read >= start

        def some(tokens: int, waiting: list[int], start: int = start, row: int = row) -> tuple[list[int], Tensor]:
            rows = waiting[: max(1, tokens // row)]
            chosen = [interventions[i] for i in rows]
            with calling(layers, SHARED_PREFIX) if share_prefix else nullcontext():
                return rows, _replay_batch(layers, recording, chosen, start, end, masks, share_prefix)

        while order:
            work = functools.partial(some, waiting=order)
            rows, states = room.run(work, most=len(order) * row, smallest=row)
            where = torch.tensor(rows)[:, None], changeable.nonzero().flatten()
            output[where] = states[:, read[changeable] - start]
            order = order[len(rows) :]
    return output


def _replay_batch(
    layers: Layers,
    recording: Recording,
    interventions: list[Intervention],
    start: int,
    end: int,
    masks: dict[int, Tensor],
    share_prefix: bool,
) -> Tensor:
    """(interventions, end − start, width) the states of the positions from `start` up to and without `end`."""
    device = recording.output.device
    blocked = torch.stack([_blocked(intervention, end, start) for intervention in interventions]).to(device)
    muted = {module: _muted(interventions, module, end, start).to(device) for module in _modules(interventions)}
    hidden = recording.output.new_empty(0, end - start, recording.output.shape[2])
    for number in range(interventions[0].start, len(layers)):
        call = recording.calls[number]
        joining = sum(intervention.start == number for intervention in interventions)
        if joining:
            joined = call.hidden[:, start:end].expand(joining, -1, -1)
            hidden = torch.cat([hidden.to(joined.device), joined])
        rows = len(hidden)
        active = torch.tensor([intervention.stop > number for intervention in interventions[:rows]], device=device)
        may_attend = masks[id(call.mask)][start:end, :end].to(device)
        mask = (may_attend & ~(blocked[:rows] & active[:, None, None]))[:, None]
        arguments = _cut(call.arguments, recording.length, start, end)
        arguments["attention_mask"] = mask if share_prefix else _as_recorded(mask, call.mask, hidden.dtype)
        prefix = Prefix(call.keys[:, :, :start], call.values[:, :, :start])
        for name, value in arguments.items():
            if isinstance(value, Cache):
                arguments[name] = _OwnKeys(start) if share_prefix else _PrefixBefore(prefix)
        set_prefix(layers[number], prefix if share_prefix else None)
        try:
            with muting(layers[number], {module: where[:rows] & active[:, None] for module, where in muted.items()}):
                hidden = states_of(layers[number](hidden, **arguments))
        finally:
            set_prefix(layers[number], None)
    return hidden.to(device)


@torch.inference_mode()
def replay_without(layers: Layers, recording: Recording, dropped: Tensor, positions: Tensor) -> Tensor:
    """(positions, width) states after the last layer, not normed, of a forward that never sees the positions `dropped`;
    the others keep their places.  It begins at the first layer, and is as much shorter.

    Args:
        layers: the decoder's.
        recording: of the intact forward.
        dropped: in any order; may be empty.
        positions: where states are read, counted as in the intact forward; none of those that are dropped.

    Raises:
        InterventionError: the model itself changes states between its layers, which would be missing.
    """
    if recording.changed.any():
        raise InterventionError(
            "the model changes states between its layers, so that no position can be left out of them"
        )
    kept = (~_flags(dropped, recording.length)).nonzero().flatten()
    hidden = recording.calls[0].hidden.index_select(1, kept.to(recording.calls[0].hidden.device))
    for layer, call in zip(layers, recording.calls, strict=True):
        arguments = {name: value for name, value in call.arguments.items() if name != "attention_mask"}
        arguments = pick_positions(arguments, recording.length, kept)
        if call.mask is not None:
            there = kept.to(call.mask.device)
            arguments["attention_mask"] = call.mask.index_select(2, there).index_select(3, there)
        arguments = {name: _OwnKeys(0) if isinstance(value, Cache) else value for name, value in arguments.items()}
        hidden = states_of(layer(hidden.to(call.hidden.device), **arguments))
    places = torch.searchsorted(kept, positions).to(hidden.device)
    return hidden[0, places]


# --- masks ---


def onlookers(recording: Recording, sources: Tensor) -> Tensor:
    """The positions outside of `sources` that attend to any of them in some layer: later ones, and in blocks of
    positions that see each other earlier ones too.

    Raises:
        InterventionError: there are none.
    """
    masks = {id(call.mask): call.mask for call in recording.calls}
    device = recording.output.device
    looking = torch.zeros(recording.length, dtype=torch.bool)
    for mask in masks.values():
        looking |= allowed(mask, recording.length, device)[:, sources.to(device)].any(dim=1).cpu()
    looking[sources] = False
    if not looking.any():
        raise InterventionError("no position attends to these, so that nothing can be hidden")
    return looking.nonzero().flatten()


def allowed(mask: Tensor | None, length: int, device: torch.device) -> Tensor:
    """(N, N) True where a position may attend, of a layer's mask; None means plain causal attention."""
    if mask is None:
        return torch.ones(length, length, dtype=torch.bool, device=device).tril()
    matrix = mask[0, 0, :, :length]
    return matrix if matrix.dtype == torch.bool else matrix > torch.finfo(matrix.dtype).min / 2


def first_changed(may_attend: Tensor, start: int) -> int:
    """The first position that can change once those from `start` on do: `start` itself in a causal decoder, an
    earlier one where blocks of positions see each other."""
    while True:
        # Positions before `start` that look at anything from `start` on change with it.
        looking = may_attend[:start, start:].any(dim=1).nonzero()
        if len(looking) == 0:
            return start
        start = int(looking[0])


def last_needed(may_attend: Tensor, end: int) -> int:
    """Up to where positions have to be computed for those before `end`: `end` itself in a causal decoder, a later
    place where blocks of positions see each other."""
    while True:
        seen = may_attend[:end, end:].any(dim=0).nonzero()
        if len(seen) == 0:
            return end
        end += int(seen[-1]) + 1


def _blocked(intervention: Intervention, end: int, start: int) -> Tensor:
    """(end − start, end) True where attention is forbidden."""
    if isinstance(intervention, ModuleKnockout):
        return torch.zeros(end - start, end, dtype=torch.bool)
    return _flags(intervention.targets, end)[start:, None] & _flags(intervention.sources, end)


def _muted(interventions: list[Intervention], module: Module, end: int, start: int) -> Tensor:
    """(interventions, end − start) True where the module's output is taken away."""
    nowhere = torch.zeros(end - start, dtype=torch.bool)
    return torch.stack(
        [
            _flags(each.positions, end)[start:]
            if isinstance(each, ModuleKnockout) and each.module == module
            else nowhere
            for each in interventions
        ]
    )


def _flags(positions: Tensor, end: int) -> Tensor:
    """(end) True at the positions that lie before `end`."""
    flags = torch.zeros(end, dtype=torch.bool)
    flags[positions[positions < end]] = True
    return flags


def _modules(interventions: list[Intervention]) -> list[Module]:
    return sorted({each.module for each in interventions if isinstance(each, ModuleKnockout)})


def _check_masks(knockout: Knockout, may_attend: Tensor, masks: list[Tensor]) -> None:
    # In some layers a window may hide the sources anyway, but not in all of the model.
    if not may_attend[knockout.targets][:, knockout.sources].any():
        raise InterventionError("no target position attends to a source position; there is nothing to knock out")
    for mask in masks:
        rows = mask[knockout.targets].clone()
        rows[:, knockout.sources] = False
        if not rows.any(dim=1).all():
            alone = int(knockout.targets[~rows.any(dim=1)][0])
            raise InterventionError(f"the knockout would leave position {alone} nothing to attend to")


def _as_recorded(mask: Tensor, recorded: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A boolean mask in the form that the layer was given: boolean, or added to the scores."""
    if recorded is None or recorded.dtype == torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


# --- the layers' other arguments ---


class _OwnKeys(DynamicCache):
    """Hands a layer back the keys and values that it computed; those of the prefix it gets by another way."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.before = before

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 (the signature of `transformers`)
        return self.before


class _PrefixBefore(_OwnKeys):
    """Puts a copy of the prefix before every row's own keys and values."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix.keys.shape[2])
        self.prefix = prefix

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = key_states.shape[0]
        keys, values = (part.expand(rows, -1, -1, -1) for part in (self.prefix.keys, self.prefix.values))
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)


def _cut(arguments: dict[str, Any], length: int, start: int, end: int) -> dict[str, Any]:
    """A layer's arguments for the positions from `start` up to and without `end`; without its mask."""
    kept = {name: value for name, value in arguments.items() if name != "attention_mask"}
    return pick_positions(kept, length, torch.arange(start, end))


def pick_positions(value: Any, length: int, kept: Tensor) -> Any:
    """Keep some positions of whatever in a layer's arguments runs over all `length` of them."""
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
