"""How much each segment attends to each position in every layer, by attention weights and by norms.

Kobayashi et al. (2020): the attention output of a position i is Σⱼ Σₕ αʰᵢⱼ vʰⱼ Wʰ; the part of it that comes from
position j has the norm ‖Σₕ αʰᵢⱼ vʰⱼ Wʰ‖, which may be small where the weight αᵢⱼ is large.  Weights and norms are
averaged over the positions of a segment during the forward: for each layer a row of numbers per segment is kept, never
a matrix of positions.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmflow.errors import NotApplicableError

from .forward import naming_the_model
from .hooks import removed_after
from .internals import ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS
from .masks import attention_matrix
from .modules import find_decoder, find_module
from .prefix import attention_function, can_share
from .record import last_logits
from .recording import Layers
from .recurrent import recurrent_layers

CAPTURED = "vlmflow_captured"
# Queries, and keys, that are computed at a time; they limit the memory and do not change the result.
QUERIES, KEYS = 128, 64


@dataclass(frozen=True)
class AttentionStats:
    """How much one segment attends to each position.

    Attributes:
        weights: (layers, N) attention to each position, mean over heads and the segment's positions; the weights of a
            layer add up to 1.
        norms: (layers, N) norm of what comes from each position, mean over the segment's positions.
        numbers: of the layers: all that have attention.
    """

    weights: Tensor
    norms: Tensor
    numbers: tuple[int, ...]

    @property
    def shares(self) -> Tensor:
        """(layers, N) the norms, as shares of their sum in the layer; 0 where all norms are 0."""
        total = self.norms.sum(dim=1, keepdim=True)
        return self.norms / total.clamp_min(torch.finfo(total.dtype).tiny)


@torch.inference_mode()
def attention_stats(
    model: PreTrainedModel, layers: Layers, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> dict[str, AttentionStats]:
    """Segment → how much it attends to each position, from one ordinary forward.

    Args:
        model: one whose attention function can be exchanged in `transformers`.
        layers: the decoder's.
        inputs: of a prompt, a batch of one.
        targets: segment → its positions.

    Raises:
        NotApplicableError: the model computes its attention in another way.
    """
    if not can_share(find_decoder(model)):
        raise NotApplicableError(
            f"does not apply: {type(model).__name__} does not allow its attention function to be replaced"
        )
    capture, recurrent = _Capture(targets), recurrent_layers(model)
    numbers = tuple(number for number in range(len(layers)) if number not in recurrent)
    with _capturing_attention([layers[number] for number in numbers], capture), naming_the_model(model):
        model(**inputs, use_cache=False, **last_logits(model))
    if len(capture.layers) != len(numbers):
        raise NotApplicableError(
            f"does not apply: only {len(capture.layers)} of the {len(numbers)} layers with attention of "
            f"{type(model).__name__} pass its output directly to a linear projection"
        )
    return {
        name: AttentionStats(
            torch.stack([layer[name][0] for layer in capture.layers]),
            torch.stack([layer[name][1] for layer in capture.layers]),
            numbers,
        )
        for name in targets
    }


@dataclass
class _AttentionCall:
    """The inputs and the output of one call of a module's attention function."""

    query: Tensor  # (heads, N, head width), scaled
    key: Tensor  # (key heads, N, head width)
    value: Tensor
    may_attend: Tensor  # (N, N)
    output: Tensor  # (N, heads × head width)


@dataclass
class _Capture:
    """The attention of a forward, layer by layer.

    Attributes:
        targets: segment → its positions.
        calls: of attention modules whose output projection has not been called yet.
        layers: segment → (weights (N), norms (N)) of each layer.
    """

    targets: Mapping[str, Tensor]
    calls: dict[nn.Module, _AttentionCall] = field(default_factory=dict)
    layers: list[dict[str, tuple[Tensor, Tensor]]] = field(default_factory=list)

    def on_linear_called(self, attention: nn.Module, linear: nn.Linear, arguments: tuple) -> None:
        """Keep the layer's statistics if `linear` is the output projection: its input is what the attention
        returned."""
        call = self.calls.get(attention)
        if call is not None and torch.equal(arguments[0].flatten(0, -2), call.output):
            del self.calls[attention]
            self.layers.append(_weights_and_norms(call, linear.weight, self.targets))


_CAPTURE: ContextVar[_Capture] = ContextVar("vlmflow_capture")


@contextmanager
def _capturing_attention(layers: Iterable[nn.Module], capture: _Capture) -> Iterator[None]:
    """In the block, forwards put the attention of their layers into `capture`."""
    token = _CAPTURE.set(capture)
    try:
        with ExitStack() as stack:
            for layer in layers:
                attention = find_module(layer, "attention")
                linears = [part for part in attention.modules() if isinstance(part, nn.Linear)]
                called = partial(capture.on_linear_called, attention)
                stack.enter_context(removed_after(linear.register_forward_pre_hook(called) for linear in linears))
            stack.enter_context(attention_function(layers, CAPTURED))
            yield
    finally:
        _CAPTURE.reset(token)


def _captured_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The result of `sdpa`; its inputs and its output are kept."""
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise NotApplicableError(f"does not apply: {type(module).__name__} changes its scores ({name})")
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]
    output, weights = sdpa(module, query, key, value, attention_mask, scaling=scaling, **others)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    _CAPTURE.get().calls[module] = _AttentionCall(
        query[0] * scale,
        key[0],
        value[0],
        attention_matrix(attention_mask, query.shape[2], query.device),
        output.flatten(2).flatten(0, 1),
    )
    return output, weights


ALL_ATTENTION_FUNCTIONS.register(CAPTURED, _captured_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(CAPTURED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _weights_and_norms(
    call: _AttentionCall, projection: Tensor, targets: Mapping[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Segment → (weights (N), norms (N)) of one layer, on the CPU."""
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    sharing = len(call.query) // len(call.key)  # heads with the same keys
    keys, values = (part.repeat_interleave(sharing, dim=0).to(dtype) for part in (call.key, call.value))
    grams = _gram_matrices(values, projection.to(dtype))
    stats_by_segment = {}
    for name, positions in targets.items():
        weights, norms = torch.zeros(2, len(grams), dtype=dtype, device=keys.device)
        for chunk in positions.to(keys.device).split(QUERIES):
            scores = call.query[:, chunk].to(dtype) @ keys.transpose(1, 2)
            attention = scores.masked_fill(~call.may_attend[chunk], float("-inf")).softmax(-1)
            weights += attention.mean(dim=0).sum(dim=0)
            for start in range(0, len(grams), KEYS):
                block = slice(start, start + KEYS)
                mixed = torch.einsum("hij,jhg->gij", attention[:, :, block], grams[block])
                norms[block] += (mixed * attention[:, :, block]).sum(dim=0).clamp_min(0).sqrt().sum(dim=0)
        stats_by_segment[name] = ((weights / len(positions)).cpu(), (norms / len(positions)).cpu())
    return stats_by_segment


def _gram_matrices(values: Tensor, projection: Tensor) -> Tensor:
    """(N, heads, heads) for each position, the scalar products of its projected values fₕ in all heads, so that
    ‖Σₕ αₕ fₕ‖² is αᵀ G α and no vector of the model's width is computed for a pair of positions.

    Args:
        values: (heads, N, head width).
        projection: (model width, heads × head width).
    """
    heads, _, width = values.shape
    by_head = projection.reshape(-1, heads, width)
    matrices = []
    for chunk in values.split(KEYS, dim=1):
        passed = torch.einsum("hjw,dhw->jhd", chunk, by_head)
        matrices.append(passed @ passed.transpose(1, 2))
    return torch.cat(matrices)
