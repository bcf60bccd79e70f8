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

NAME = "vlmflow_shared_prefix"


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
    rows, heads, length, width = query.shape
    key_heads, before = prefix.keys.shape[1], prefix.keys.shape[2]
    scale = width**-0.5 if scaling is None else scaling
    # Heads that share keys stand side by side, and so do, for the prefix, the rows: one product for the whole batch.
    grouped = (query * scale).reshape(rows, key_heads, -1, width)
    flat = grouped.transpose(0, 1).reshape(key_heads, -1, width)
    to_prefix = (flat @ prefix.keys[0].transpose(1, 2)).view(key_heads, rows, -1, before).transpose(0, 1)
    to_own = grouped @ key.transpose(2, 3)
    scores = torch.cat([to_prefix, to_own], dim=3).view(rows, heads, length, before + length)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    weights = scores.masked_fill_(~attention_mask, float("-inf")).softmax(-1).to(query.dtype)
    weights = weights.view(rows, key_heads, -1, before + length)
    from_prefix = weights[..., :before].transpose(0, 1).reshape(key_heads, -1, before) @ prefix.values[0]
    from_own = weights[..., before:] @ value
    output = from_prefix.view(key_heads, rows, -1, width).transpose(0, 1) + from_own
    return output.reshape(rows, heads, length, width).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(NAME, shared_prefix_attention)


def can_share(decoder: Any) -> bool:
    """Whether the decoder computes `sdpa` and would call another function of that signature in its place."""
    return getattr(decoder, "_supports_attention_backend", False) and decoder.config._attn_implementation == "sdpa"


@contextmanager
def sharing(layers: Iterable[Any]) -> Iterator[None]:
    """Have the layers' attention modules call `shared_prefix_attention`, and afterwards what they called before."""
    configs = {id(m.config): m.config for layer in layers for m in layer.modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = NAME
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


def set_prefix(layer: Any, prefix: Prefix | None) -> None:
    """Tell the layer's attention modules the prefix of the call to come."""
    for module in layer.modules():
        if hasattr(module, "config"):
            module.vlmflow_prefix = prefix
