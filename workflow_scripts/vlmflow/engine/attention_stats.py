"""What each segment looks at in every layer, by attention weights and by the norms of what they carry.

Kobayashi et al. (2020): a position i takes Σⱼ Σₕ αʰᵢⱼ vʰⱼ Wʰ from the positions j, so that what it takes from j has the
norm ‖Σₕ αʰᵢⱼ vʰⱼ Wʰ‖, which may be small where the weight αᵢⱼ is large.  Both are averaged over the positions of a
segment while the model reads the prompt: what stays of a layer is a row of numbers for each segment, never a matrix of
positions.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vlmflow.errors import NotApplicableError

from .interventions import find_module, removed_after
from .modules import find_decoder
from .prefix import calling, can_share
from .record import Layers, last_logits
from .replay import allowed

WATCHED = "vlmflow_watched"
# Queries, and keys, that are worked on at a time: bounds the memory, not the result.
QUERIES, KEYS = 128, 64


@dataclass(frozen=True)
class Looks:
    """What one segment looks at.

    Attributes:
        weights: (layers, N) attention to each position, mean over heads and the segment's positions; a layer's add up
            to 1.
        norms: (layers, N) norm of what comes from each position, mean over the segment's positions.
    """

    weights: Tensor
    norms: Tensor

    @property
    def shares(self) -> Tensor:
        """(layers, N) the norms, as shares of what comes from all positions of the layer; 0 where nothing comes."""
        total = self.norms.sum(dim=1, keepdim=True)
        return self.norms / total.clamp_min(torch.finfo(total.dtype).tiny)


@dataclass
class _Call:
    """What the attention function was called with, until the output projection is met."""

    query: Tensor  # (heads, N, head width), scaled
    key: Tensor  # (key heads, N, head width)
    value: Tensor
    may_attend: Tensor  # (N, N)
    output: Tensor  # (N, heads × head width)


@torch.inference_mode()
def looks(
    model: PreTrainedModel, layers: Layers, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> dict[str, Looks]:
    """One ordinary forward, watched.

    Args:
        model: whose attention modules call a function that `transformers` lets one exchange.
        layers: the decoder's.
        inputs: of a prompt, a batch of one.
        targets: segment → its positions.

    Raises:
        NotApplicableError: the model computes its attention in another way.
    """
    if not can_share(find_decoder(model)):
        raise NotApplicableError(f"does not apply: {type(model).__name__} does not let its attention be watched")
    found: list[dict[str, tuple[Tensor, Tensor]]] = []
    with _watched(layers, targets, found):
        model(**inputs, use_cache=False, **last_logits(model))
    if len(found) != len(layers):
        raise NotApplicableError(
            f"does not apply: {len(found)} of the {len(layers)} layers of {type(model).__name__} project what their "
            "attention gives right away"
        )
    return {name: Looks(*(torch.stack([layer[name][part] for layer in found]) for part in (0, 1))) for name in targets}


@contextmanager
def _watched(
    layers: Iterable[Any], targets: Mapping[str, Tensor], found: list[dict[str, tuple[Tensor, Tensor]]]
) -> Iterator[None]:
    """While the block runs, put what each layer's segments look at into `found`."""

    def met(attention: Any, linear: Any, arguments: tuple) -> None:
        """A linear map is called: if with what the attention has just given, it is the output projection."""
        call: _Call | None = getattr(attention, "vlmflow_call", None)
        if call is not None and torch.equal(arguments[0].flatten(0, -2), call.output):
            attention.vlmflow_call = None
            found.append(_weighed(call, linear.weight, targets))

    with ExitStack() as stack:
        for layer in layers:
            attention = find_module(layer, "attention")
            linears = [part for part in attention.modules() if isinstance(part, nn.Linear)]
            hooks = [linear.register_forward_pre_hook(partial(met, attention)) for linear in linears]
            stack.enter_context(removed_after(hooks))
            stack.callback(setattr, attention, "vlmflow_call", None)
        stack.enter_context(calling(layers, WATCHED))
        yield


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """`sdpa`, which remembers what it was called with."""
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise NotApplicableError(f"does not apply: {type(module).__name__} changes its scores ({name})")
    plain = ALL_ATTENTION_FUNCTIONS["sdpa"]
    output, weights = plain(module, query, key, value, attention_mask, scaling=scaling, **others)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    module.vlmflow_call = _Call(
        query[0] * scale,
        key[0],
        value[0],
        allowed(attention_mask, query.shape[2], query.device),
        output.flatten(2).flatten(0, 1),
    )
    return output, weights


ALL_ATTENTION_FUNCTIONS.register(WATCHED, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(WATCHED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _weighed(call: _Call, projection: Tensor, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Segment → (weights (N), norms (N)) of one layer, on the CPU."""
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    shared = len(call.query) // len(call.key)
    keys, values = (part.repeat_interleave(shared, dim=0).to(dtype) for part in (call.key, call.value))
    grams = _grams(values, projection.to(dtype))
    found = {}
    for name, positions in targets.items():
        weights, norms = torch.zeros(2, len(grams), dtype=dtype, device=keys.device)
        for some in positions.to(keys.device).split(QUERIES):
            scores = call.query[:, some].to(dtype) @ keys.transpose(1, 2)
            attention = scores.masked_fill(~call.may_attend[some], float("-inf")).softmax(-1)
            weights += attention.mean(dim=0).sum(dim=0)
            for start in range(0, len(grams), KEYS):
                here = slice(start, start + KEYS)
                mixed = torch.einsum("hij,jhg->gij", attention[:, :, here], grams[here])
                norms[here] += (mixed * attention[:, :, here]).sum(dim=0).clamp_min(0).sqrt().sum(dim=0)
        found[name] = ((weights / len(positions)).cpu(), (norms / len(positions)).cpu())
    return found


def _grams(values: Tensor, projection: Tensor) -> Tensor:
    """(N, heads, heads) how the parts that the heads would pass on of each position lie to each other, so that
    ‖Σₕ αₕ fₕ‖² is αᵀ G α and no vector of the model's width is made for a pair of positions.

    Args:
        values: (heads, N, head width).
        projection: (model width, heads × head width).
    """
    heads, _, width = values.shape
    by_head = projection.reshape(-1, heads, width)
    parts = []
    for some in values.split(KEYS, dim=1):
        passed = torch.einsum("hjw,dhw->jhd", some, by_head)
        parts.append(passed @ passed.transpose(1, 2))
    return torch.cat(parts)
