"""Record one forward, then replay interventions on the part of it that they can change.

In a causal decoder, blocking attention *to* some positions changes nothing before the first of them and nothing
below the first blocked layer.  So one ordinary forward is recorded, and each intervention becomes a row that joins,
at its first layer, the recorded state of the suffix that it can change.  The decoder layers are called as they are,
with the arguments that the model itself passed; nothing about an architecture is written here.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedModel

from .attention import Prefix, set_prefix, sharing

# Rows × suffix tokens of one batch, and rows × all tokens over this: bounds the memory of states, masks and keys.
TOKENS_PER_BATCH = 4096
PREFIX_TOKENS_PER_TOKEN = 32

Layers = nn.ModuleList | Sequence[nn.Module]


class ReplayError(ValueError):
    """An intervention that has no meaning on this recording; the message says why."""


@dataclass(frozen=True)
class Knockout:
    """No position of `targets` attends to a position of `sources` in the layers `start` … `stop` − 1."""

    sources: Tensor
    targets: Tensor
    start: int
    stop: int


@dataclass(frozen=True)
class LayerCall:
    """What one decoder layer was called with, and the keys and values that it left."""

    hidden: Tensor  # (1, N, width)
    arguments: dict[str, Any]
    keys: Tensor  # (1, heads, N, head width)
    values: Tensor

    @property
    def mask(self) -> Tensor | None:
        """As the model passed it: boolean, additive, or None for plain causal attention."""
        return self.arguments.get("attention_mask")


@dataclass(frozen=True)
class Recording:
    """What one ordinary forward of N positions leaves.

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

    def hidden(self, position: int) -> Tensor:
        """(layers + 1, width): the state of a position after the embedding and after each layer, not normed."""
        # The layers of a large model may lie on several devices.
        states = [call.hidden[0, position].to(self.output.device) for call in self.calls]
        return torch.stack([*states, self.output[0, position]])


# --- recording ---


@torch.inference_mode()
def record(model: PreTrainedModel, layers: Layers, inputs: dict[str, Tensor]) -> tuple[Recording, Tensor]:
    """Run the unmodified model once on `inputs` (a batch of one) and keep what each decoder layer saw.

    Returns:
        the recording, and the model's logits (1, vocabulary) at the last position.
    """
    seen: list[tuple[Tensor, dict[str, Any]]] = []
    outputs: list[Tensor] = []

    def before(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        signature = inspect.signature(layer.forward)
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(name, {}))
        hidden = arguments.pop(next(iter(arguments)))
        seen.append((hidden, arguments))

    # A plain cache keeps every key; one made from the config would drop those outside of a sliding window.
    cache = DynamicCache()
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_removed(layer.register_forward_pre_hook(before, with_kwargs=True)))
            after = layer.register_forward_hook(lambda _layer, _args, output: outputs.append(_hidden(output)))
            stack.enter_context(_removed(after))
        logits = model(**inputs, past_key_values=cache, use_cache=True, **_last_logits(model)).logits[:, -1]
    if len(seen) != len(layers) or seen[0][0].shape[0] != 1:
        raise ReplayError(
            f"{len(layers)} decoder layers were called {len(seen)} times; expected one call each, batch 1"
        )
    if not logits.isfinite().all():
        raise ReplayError("the model's logits are not finite numbers; another dtype may help")
    kept = [(layer.keys, layer.values) for layer in cache.layers]
    calls = [LayerCall(hidden, arguments, *pair) for (hidden, arguments), pair in zip(seen, kept, strict=True)]
    changed = torch.zeros(outputs[0].shape[1], dtype=torch.bool)
    for output, call in zip(outputs, calls[1:], strict=False):
        if output is not call.hidden:
            changed |= (output != call.hidden.to(output.device)).any(dim=(0, 2)).cpu()
    return Recording(calls, outputs[-1], changed), logits


def _last_logits(model: PreTrainedModel) -> dict[str, int]:
    """Logits at the last position only, where the model can do so."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _hidden(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


# --- masks ---


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


def _blocked(knockout: Knockout, length: int, start: int) -> Tensor:
    """(N − start, N) True where the knockout forbids attention."""
    rows = torch.zeros(length, dtype=torch.bool)
    columns = torch.zeros(length, dtype=torch.bool)
    rows[knockout.targets] = True
    columns[knockout.sources] = True
    return rows[start:, None] & columns


def _check(knockout: Knockout, layers: int) -> None:
    if len(knockout.sources) == 0 or len(knockout.targets) == 0:
        raise ReplayError("a knockout needs at least one source and one target position")
    if not 0 <= knockout.start < knockout.stop <= layers:
        raise ReplayError(f"layers {knockout.start} to {knockout.stop - 1}: the model has 0 to {layers - 1}")


def _check_mask(knockout: Knockout, may_attend: Tensor) -> None:
    rows = may_attend[knockout.targets].clone()
    rows[:, knockout.sources] = False
    if not rows.any(dim=1).all():
        alone = int(knockout.targets[~rows.any(dim=1)][0])
        raise ReplayError(f"the knockout would leave position {alone} nothing to attend to")


# --- replaying ---


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


@torch.inference_mode()
def replay(
    layers: Layers,
    recording: Recording,
    knockouts: Sequence[Knockout],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    share_prefix: bool = False,
) -> Tensor:
    """The last position's state after the last layer under each knockout, (knockouts, width), not normed.

    Equal to a full forward per knockout; see `plain`.

    Args:
        layers: the decoder's.
        recording: of the intact forward.
        knockouts: in any order.
        tokens_per_batch: rows × suffix tokens that run together; bounds the memory, not the result.
        share_prefix: attend to the prefix once for all rows instead of copying it for each; see `can_share`.

    Raises:
        ReplayError: a knockout that names no positions, no layers, or leaves a position nothing to attend to.
    """
    length = recording.length
    masks = {
        id(mask): allowed(mask, length, recording.output.device) for mask in (call.mask for call in recording.calls)
    }
    on_cpu = {key: mask.cpu() for key, mask in masks.items()}
    may_attend = torch.stack(list(on_cpu.values())).any(dim=0)
    for knockout in knockouts:
        _check(knockout, len(layers))
        # In some layers a window may hide the sources anyway, but not in all of the model.
        if not may_attend[knockout.targets][:, knockout.sources].any():
            raise ReplayError("no target position attends to a source position; there is nothing to knock out")
        for mask in {id(call.mask) for call in recording.calls[knockout.start : knockout.stop]}:
            _check_mask(knockout, on_cpu[mask])
    first = functools.cache(lambda target: first_changed(may_attend, target))
    starts = [first(int(knockout.targets.min())) for knockout in knockouts]
    output = recording.output.new_empty(len(knockouts), recording.output.shape[2])
    for start in sorted(set(starts)):
        if recording.changed[start:].any():
            raise ReplayError("the model changes states between its layers at positions that this knockout reaches")
        # Rows in the order in which they join, so that at each layer the running ones are the first of them.
        order = sorted((i for i, s in enumerate(starts) if s == start), key=lambda i: knockouts[i].start)
        size = max(1, tokens_per_batch // max(length - start, length // PREFIX_TOKENS_PER_TOKEN))
        for begin in range(0, len(order), size):
            rows = order[begin : begin + size]
            chosen = [knockouts[i] for i in rows]
            with sharing(layers) if share_prefix else nullcontext():
                output[rows] = _replay_batch(layers, recording, chosen, start, masks, share_prefix)
    return output


def _replay_batch(
    layers: Layers,
    recording: Recording,
    knockouts: list[Knockout],
    start: int,
    masks: dict[int, Tensor],
    share_prefix: bool,
) -> Tensor:
    device = recording.output.device
    blocked = torch.stack([_blocked(knockout, recording.length, start) for knockout in knockouts]).to(device)
    hidden = recording.output.new_empty(0, recording.length - start, recording.output.shape[2])
    for number in range(knockouts[0].start, len(layers)):
        call = recording.calls[number]
        joining = sum(knockout.start == number for knockout in knockouts)
        if joining:
            joined = call.hidden[:, start:].expand(joining, -1, -1)
            hidden = torch.cat([hidden.to(joined.device), joined])
        active = torch.tensor([knockout.stop > number for knockout in knockouts[: len(hidden)]], device=device)
        may_attend = masks[id(call.mask)][start:].to(device)
        mask = (may_attend & ~(blocked[: len(hidden)] & active[:, None, None]))[:, None]
        arguments = _cut(call.arguments, recording.length, start)
        arguments["attention_mask"] = mask if share_prefix else _as_recorded(mask, call.mask, hidden.dtype)
        prefix = Prefix(call.keys[:, :, :start], call.values[:, :, :start])
        for name, value in arguments.items():
            if isinstance(value, Cache):
                arguments[name] = _OwnKeys(start) if share_prefix else _PrefixBefore(prefix)
        set_prefix(layers[number], prefix if share_prefix else None)
        hidden = _hidden(layers[number](hidden, **arguments))
        set_prefix(layers[number], None)
    return hidden[:, -1].to(device)


def _as_recorded(mask: Tensor, recorded: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A boolean mask in the form that the layer was given: boolean, or added to the scores."""
    if recorded is None or recorded.dtype == torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def _cut(value: Any, length: int, start: int) -> Any:
    """Keep the positions from `start` on, in whatever of the layer's arguments runs over positions."""
    if isinstance(value, dict):
        return {key: _cut(item, length, start) for key, item in value.items() if key != "attention_mask"}
    if isinstance(value, tuple | list):
        return type(value)(_cut(item, length, start) for item in value)
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    axis = value.ndim - (2 if value.ndim >= 3 else 1)  # rotary phases (…, N, width), position ids (…, N)
    if value.shape[axis] != length:
        return value
    return value.narrow(axis, start, length - start)


# --- the plain method ---


@torch.inference_mode()
def plain(model: PreTrainedModel, layers: Layers, inputs: dict[str, Tensor], knockouts: Sequence[Knockout]) -> Tensor:
    """What `replay` computes, by one full forward per knockout: the oracle of the tests and of the benchmark."""
    states: list[Tensor] = []
    for knockout in knockouts:
        with ExitStack() as stack:
            for layer in layers[knockout.start : knockout.stop]:
                hook = layer.register_forward_pre_hook(_masking(knockout), with_kwargs=True)
                stack.enter_context(_removed(hook))
            keep: Callable = lambda _layer, _args, output: states.append(_hidden(output)[0, -1])  # noqa: E731
            stack.enter_context(_removed(layers[-1].register_forward_hook(keep)))
            model(**inputs, use_cache=False, **_last_logits(model))
    return torch.stack(states)


def _masking(knockout: Knockout) -> Callable:
    def before(_layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        mask = kwargs.get("attention_mask")
        if mask is None:
            length = args[0].shape[1]
            mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=args[0].device).tril()
        nothing = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        mask = mask.clone()
        mask[:, :, knockout.targets[:, None], knockout.sources] = nothing
        return args, kwargs | {"attention_mask": mask}

    return before
