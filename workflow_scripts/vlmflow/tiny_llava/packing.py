"""Attention over an image followed by many texts about it, which do not attend to each other.

Packed into one row, texts share the work on their image; with a mask over all pairs of the row, most of the time of
training would be spent on pairs that may not attend to each other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "vlmflow_packed"


def packed_attention(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: None,
    *,
    prefix: int,
    scaling: float,
    segment: int,
    hidden: Tensor | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """Causal attention within the prefix, and from each segment to the prefix and to itself.

    Args:
        query, key, value: (rows, heads, prefix + segments × segment, head width). Short texts are padded at the end,
            to which no earlier token attends.
        prefix: number of tokens before the segments.
        scaling: of the scores.
        segment: number of tokens of each segment.
        hidden: (rows, segments, segment, prefix) True where a token of the prefix is hidden from one of a segment.
    """
    rows, heads, _, width = query.shape

    def own(states: Tensor) -> Tensor:
        return states[:, :, prefix:].reshape(rows, heads, -1, segment, width)

    def with_prefix(states: Tensor) -> Tensor:
        texts = own(states)
        before = states[:, :, None, :prefix].expand(-1, -1, texts.shape[2], -1, -1)
        return torch.cat([before, texts], dim=3)

    # Under autocast a softmax would return float32; here it returns the type of its input.
    with torch.autocast(query.device.type, enabled=False):
        query, key = (query * scaling).to(value.dtype), key.to(value.dtype)
        of_prefix = _attend(*(states[:, :, :prefix] for states in (query, key, value)))
        by_head = None if hidden is None else hidden[:, None]
        of_texts = _attend(own(query), with_prefix(key), with_prefix(value), by_head).reshape(rows, heads, -1, width)
        return torch.cat([of_prefix, of_texts], dim=2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Causal attention in which the last queries are at the last keys; `hidden` is about the first keys."""
    scores = query @ key.transpose(-1, -2)
    forbidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + scores.shape[-1] - scores.shape[-2])
    if hidden is not None:
        forbidden = forbidden | F.pad(hidden, (0, scores.shape[-1] - hidden.shape[-1]))
    return scores.masked_fill_(forbidden, torch.finfo(scores.dtype).min).softmax(-1) @ value


ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)
