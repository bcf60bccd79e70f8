"""Attention of many rows to one prefix that they share, without a copy of its keys and values for every row.

`transformers` lets a model's attention modules call any registered function; during a replay they call this one.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SHARED_PREFIX = "vlmflow_shared_prefix"


@dataclass
class Prefix:
    """Keys and values (1, key heads, P, head width) before every row's own, of the layer that is called now."""

    keys: Tensor
    values: Tensor


def shared_prefix_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What `transformers` computes as `sdpa`, over prefix and own positions, in the same signature.

    Args:
        module: the attention module; its `vlmflow_prefix` is the shared prefix.
        query: (rows, heads, S, head width).
        key, value: the rows' own, (rows, key heads, S, head width).
        attention_mask: boolean (rows or 1, 1, S, P + S), True where a position may attend.
        scaling: of the scores; 1/√(head width) by default.
    """
    prefix: Prefix = module.vlmflow_prefix
    original = query.dtype
    # Scores and weights of half-precision models are kept in float32, as fused kernels keep them.
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, key, value, prefix_keys, prefix_values = (
        part.to(dtype) for part in (query, key, value, prefix.keys[0], prefix.values[0])
    )
    rows, heads, length, width = query.shape
    key_heads, before = prefix_keys.shape[:2]
    shared = heads // key_heads  # heads that look at the same keys; they stand side by side

    def by_key_head(states: Tensor) -> Tensor:
        """(rows, heads, …) → (key heads, rows, heads of one key head × S, …)."""
        return states.reshape(rows, key_heads, shared * length, -1).transpose(0, 1)

    queries = by_key_head(query * (width**-0.5 if scaling is None else scaling))
    # Key heads outermost: for the prefix, all rows then are one product.
    to_prefix = queries.reshape(key_heads, -1, width) @ prefix_keys.transpose(1, 2)
    to_own = queries @ key.transpose(0, 1).transpose(2, 3)
    scores = torch.cat([to_prefix, to_own.reshape(key_heads, -1, length)], dim=2)
    may_attend = attention_mask.transpose(0, 1).unsqueeze(2)  # (1, rows, 1, S, P + S)
    scores.view(key_heads, rows, shared, length, -1).masked_fill_(~may_attend, float("-inf"))
    weights = scores.softmax(-1)
    from_prefix = (weights[..., :before] @ prefix_values).view(key_heads, rows, -1, value.shape[3])
    from_own = weights[..., before:].reshape(key_heads, rows, -1, length) @ value.transpose(0, 1)
    output = (from_prefix + from_own).transpose(0, 1).reshape(rows, heads, length, value.shape[3])
    return output.transpose(1, 2).to(original), None


ALL_ATTENTION_FUNCTIONS.register(SHARED_PREFIX, shared_prefix_attention)


def can_share(decoder: Any) -> bool:
    """Whether the decoder computes `sdpa` and would call another function of that signature in its place."""
    if getattr(decoder.config, "kv_lora_rank", None):
        return False  # such layers keep what keys are made of, and not the keys
    return getattr(decoder, "_supports_attention_backend", False) and decoder.config._attn_implementation == "sdpa"


@contextmanager
def calling(layers: Iterable[Any], name: str) -> Iterator[None]:
    """Have the layers' attention modules call the function that is registered as `name`, and afterwards what they
    called before."""
    configs = {id(m.config): m.config for layer in layers for m in layer.modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = name
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


def set_prefix(layer: Any, prefix: Prefix | None) -> None:
    """Tell the layer's attention modules the prefix of the call to come."""
    for module in layer.modules():
        if hasattr(module, "config"):
            module.vlmflow_prefix = prefix
