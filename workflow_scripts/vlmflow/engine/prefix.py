"""How the rows of a batch attend to the prefix that they share: each to a copy of it, or all to one.

`transformers` lets a model's attention modules call any registered function.  Where a model allows it, the
modules of a layer call `shared_prefix_attention` while the layer is replayed, and no keys and values are copied.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from .internals import ALL_ATTENTION_FUNCTIONS, attention_of, can_exchange_attention, set_attention
from .masks import mask_in_form
from .recording import LayerCall

SHARED_PREFIX = "vlmflow_shared_prefix"
# Keys and values (1, key heads, P, head width) of the layer that is called now.
_PREFIX: ContextVar[tuple[Tensor, Tensor]] = ContextVar("vlmflow_prefix")


class Prefix(Protocol):
    """A way in which rows attend to the positions before their own: a layer's recorded keys and values."""

    def cache(self, call: LayerCall, start: int) -> Cache:
        """The cache with which a layer is called, for rows that begin at position `start`."""

    def mask(self, may_attend: Tensor, call: LayerCall, dtype: torch.dtype) -> Tensor:
        """The boolean mask (rows, 1 or heads, S, start + S), in the form that the layer takes."""

    def returned(self, call: LayerCall, start: int, end: int) -> tuple[Tensor, Tensor]:
        """The recorded keys and values of the positions before `end`, as `cache` returns them to a layer."""

    def context(self, layer: nn.Module, call: LayerCall, start: int) -> AbstractContextManager[None]:
        """The context in which the layer is called."""


class CopiedPrefix:
    """Every row gets a copy of the prefix's keys and values; any layer can be called so."""

    def cache(self, call: LayerCall, start: int) -> Cache:
        """A cache that puts the prefix before every row's own keys and values."""
        keys, values = call.keys_and_values
        return _PrefixBefore(keys[:, :, :start], values[:, :, :start])

    def mask(self, may_attend: Tensor, call: LayerCall, dtype: torch.dtype) -> Tensor:
        """The mask in the form of the recorded one."""
        return mask_in_form(may_attend, call.mask, dtype)

    def returned(self, call: LayerCall, start: int, end: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Those of the prefix and the rows' own positions."""
        keys, values = call.keys_and_values
        return keys[:, :, :end], values[:, :, :end]

    def context(self, layer: nn.Module, call: LayerCall, start: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """An empty context: the layer attends as it always does."""
        return nullcontext()


class SharedPrefix:
    """All rows attend to the same keys and values of the prefix, in one product; see `can_share`."""

    def cache(self, call: LayerCall, start: int) -> Cache:  # noqa: ARG002
        """A cache that returns to each row its own keys and values."""
        return OwnKeys(start)

    def mask(self, may_attend: Tensor, call: LayerCall, dtype: torch.dtype) -> Tensor:  # noqa: ARG002
        """The boolean mask itself."""
        return may_attend

    def returned(self, call: LayerCall, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Those of the rows' own positions alone."""
        keys, values = call.keys_and_values
        return keys[:, :, start:end], values[:, :, start:end]

    @contextmanager
    def context(self, layer: nn.Module, call: LayerCall, start: int) -> Iterator[None]:
        """In the block, the layer calls `shared_prefix_attention`, which finds the prefix."""
        keys, values = call.keys_and_values
        token = _PREFIX.set((keys[:, :, :start], values[:, :, :start]))
        try:
            with attention_function([layer], SHARED_PREFIX):
                yield
        finally:
            _PREFIX.reset(token)


def can_share(decoder: Any) -> bool:
    """Whether the decoder computes attention by `sdpa` and can call another function of that signature instead."""
    if getattr(decoder.config, "kv_lora_rank", None):
        return False  # such layers keep compressed keys, from which the keys are computed
    return can_exchange_attention(decoder) and attention_of(decoder.config) == "sdpa"


def choose_prefix(decoder: Any) -> Prefix:
    """The fastest way in which a decoder's rows can attend to a prefix."""
    return SharedPrefix() if can_share(decoder) else CopiedPrefix()


@contextmanager
def attention_function(layers: Iterable[nn.Module], name: str) -> Iterator[None]:
    """In the block, the layers' attention modules call the function that is registered as `name`; afterwards they call
    the one from before again."""
    configs: list[Any] = []
    for module in (module for layer in layers for module in layer.modules() if hasattr(module, "config")):
        if not any(module.config is config for config in configs):
            configs.append(module.config)
    before = [attention_of(config) for config in configs]
    try:
        for config in configs:
            set_attention(config, name)
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            set_attention(config, own)


class OwnKeys(DynamicCache):
    """Returns to a layer the keys and values that it computed; it gets those of the prefix in another way."""

    def __init__(self, before: int) -> None:
        """`before` is the number of positions in the prefix."""
        super().__init__()
        self.before = before

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """(keys, values) that the layer attends to."""
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 (the signature of `transformers`)
        """The number of positions before the rows' own."""
        return self.before


class _PrefixBefore(OwnKeys):
    """Puts a copy of the prefix before every row's own keys and values."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__(keys.shape[2])
        self.prefix = (keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = key_states.shape[0]
        keys, values = (part.expand(rows, -1, -1, -1) for part in self.prefix)
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)


def shared_prefix_attention(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What `transformers` computes as `sdpa`, over prefix and own positions, in the same signature.

    Args:
        query: (rows, heads, S, head width).
        key, value: the rows' own, (rows, key heads, S, head width).
        attention_mask: boolean (rows or 1, heads or 1, S, P + S), True where a position may attend.
        scaling: of the scores; 1/√(head width) by default.
    """
    keys, values = _PREFIX.get()
    original = query.dtype
    # Scores and weights of half-precision models are kept in float32, as fused kernels keep them.
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, key, value, prefix_keys, prefix_values = (part.to(dtype) for part in (query, key, value, keys[0], values[0]))
    rows, heads, length, width = query.shape
    key_heads, before = prefix_keys.shape[:2]
    sharing = heads // key_heads  # heads with the same keys; they are next to each other

    def by_key_head(states: Tensor) -> Tensor:
        """(rows, heads, …) → (key heads, rows, heads of one key head × S, …)."""
        return states.reshape(rows, key_heads, sharing * length, -1).transpose(0, 1)

    queries = by_key_head(query * (width**-0.5 if scaling is None else scaling))
    # Key heads come first, so that for the prefix all rows are one product.
    to_prefix = queries.reshape(key_heads, -1, width) @ prefix_keys.transpose(1, 2)
    to_own = queries @ key.transpose(0, 1).transpose(2, 3)
    scores = torch.cat([to_prefix, to_own.reshape(key_heads, -1, length)], dim=2)
    by_head = attention_mask.shape[1] > 1
    # (key heads or 1, rows, heads of one key head or 1, S, P + S)
    may_attend = attention_mask.unflatten(1, (key_heads, sharing) if by_head else (1, 1)).transpose(0, 1)
    scores.view(key_heads, rows, sharing, length, -1).masked_fill_(~may_attend, float("-inf"))
    weights = scores.softmax(-1)
    from_prefix = (weights[..., :before] @ prefix_values).view(key_heads, rows, -1, value.shape[3])
    from_own = weights[..., before:].reshape(key_heads, rows, -1, length) @ value.transpose(0, 1)
    output = (from_prefix + from_own).transpose(0, 1).reshape(rows, heads, length, value.shape[3])
    return output.transpose(1, 2).to(original), None


ALL_ATTENTION_FUNCTIONS.register(SHARED_PREFIX, shared_prefix_attention)
