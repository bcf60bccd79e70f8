"""What each part of a model adds to the residual stream at one position: the heads and the MLP of every layer.

The parts add up: the state after the last layer is the embedding plus all of them.  So the logit of a token, with the
final norm's scale frozen at its value, is a sum over parts as well: direct logit attribution.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmflow.errors import InterventionError

from .forward import naming_the_model
from .hooks import removed_after
from .modules import find_module, find_output_projection, has_attention, head_count
from .record import last_logits
from .recording import Layers, states_of

# A number so large that a norm's epsilon has no weight beside it.
LARGE = 1e4


@dataclass(frozen=True)
class ResidualParts:
    """The parts of the residual stream at one position, in float32 or wider, on the CPU.

    Attributes:
        embedding: (width), before the first layer.
        attention, mlp: (layers, width) what the attention and the MLP of each layer add.
        heads: (layers, heads, width) what each head adds; without the bias of the output projection.
        output: (width), the state after the last layer.
    """

    embedding: Tensor
    attention: Tensor
    mlp: Tensor
    heads: Tensor
    output: Tensor


@torch.inference_mode()
def residual_parts(model: PreTrainedModel, layers: Layers, inputs: dict[str, Tensor], position: int) -> ResidualParts:
    """The parts of one ordinary forward at a position.

    Args:
        model: of `transformers`.
        layers: its decoder's.
        inputs: of a prompt, a batch of one.
        position: from 0, or from −1 backwards.

    Raises:
        InterventionError: a layer has no attention, or adds its parts up in another way.
    """
    if not all(map(has_attention, layers)):
        raise InterventionError("some layers have no attention, so what they add is not a sum over heads")
    seen = [_Layer(layer, position) for layer in layers]
    with removed_after([handle for each in seen for handle in each.hooks()]), naming_the_model(model):
        model(**inputs, use_cache=False, **last_logits(model))
    # The layers of a large model may lie on several devices.
    parts = [[part.cpu() for part in each.parts(number)] for number, each in enumerate(seen)]
    attention, mlp, heads = (torch.stack([part[index] for part in parts]) for index in range(3))
    return ResidualParts(seen[0].state("input").cpu(), attention, mlp, heads, seen[-1].state("output").cpu())


def frozen_norm(norm: nn.Module, state: Tensor) -> Callable[[Tensor], Tensor]:
    """The linear map of states (…, width) that a norm is at `state` (width): its scale is frozen, and it has no bias.

    Raises:
        InterventionError: the norm is neither a layer norm nor an RMS norm.
    """
    state = _wide(state)
    if isinstance(norm, nn.LayerNorm):  # it takes states of its own dtype alone
        weight = torch.ones_like(state) if norm.weight is None else _wide(norm.weight)
        return partial(_scaled, weight / (state.var(correction=0) + norm.eps).sqrt(), True)
    normed = _wide(norm(state)) - _wide(norm(torch.zeros_like(state)))
    for weight, centred in _forms(norm, state):
        scaled = (state - state.mean() if centred else state) * weight
        factor = (normed * scaled).sum() / (scaled * scaled).sum()
        if torch.allclose(scaled * factor, normed, rtol=1e-2, atol=1e-2 * float(normed.abs().max())):
            return partial(_scaled, weight * factor, centred)
    raise InterventionError(f"{type(norm).__name__} is neither a layer norm nor an RMS norm")


def _forms(norm: nn.Module, state: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """(weights, whether the mean is taken away) of an RMS norm, and then of a layer norm."""
    yield _wide(norm(torch.full_like(state, LARGE))), False  # each number of this state is its root mean square
    if isinstance(norm.weight, Tensor):
        yield _wide(norm.weight), True


def _scaled(factors: Tensor, centred: bool, states: Tensor) -> Tensor:
    return (states - states.mean(dim=-1, keepdim=True) if centred else states) * factors


def _wide(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


@dataclass
class _Layer:
    """A layer, and what its modules received and returned at one position."""

    layer: nn.Module
    position: int
    seen: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, tuple[nn.Module, Tensor, Tensor]] = field(default_factory=dict)

    def state(self, name: str) -> Tensor:
        """What was seen under a name, (width)."""
        return _wide(self.seen[name])

    def hooks(self) -> list[Any]:
        """The handles of the hooks that see it."""
        layer, see = self.layer, self._see
        attention, mlp = find_module(layer, "attention"), find_module(layer, "mlp")
        handles = [
            layer.register_forward_pre_hook(partial(see, "input"), with_kwargs=True),
            layer.register_forward_hook(partial(self._see_output, "output")),
            attention.register_forward_hook(partial(self._see_output, "attention")),
            mlp.register_forward_hook(partial(self._see_output, "mlp")),
            find_output_projection(layer).register_forward_pre_hook(partial(see, "heads"), with_kwargs=True),
        ]
        for name, child in layer.named_children():
            if "norm" in type(child).__name__.lower():
                handles.append(child.register_forward_hook(partial(self._see_norm, name)))
        return handles

    def _see(self, name: str, _module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs["hidden_states"]
        self.seen[name] = given[0, self.position]

    def _see_output(self, name: str, _module: nn.Module, _args: tuple, output: Any) -> None:
        # Some mixtures of experts return their states without the batch.
        states = states_of(output)
        self.seen[name] = states[self.position] if states.ndim == 2 else states[0, self.position]

    def _see_norm(self, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.norms[name] = (module, args[0][0, self.position], output[0, self.position])

    def parts(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """(width) of the attention, (width) of the MLP, (heads, width) of the heads.

        Args:
            number: of the layer.

        Raises:
            InterventionError: the layer's output is not its input plus these.
        """
        attention, attention_norm = self._after_norm("attention")
        mlp, _ = self._after_norm("mlp")
        added = self.state("output") - self.state("input")
        both = attention + mlp
        close = partial(torch.allclose, added, rtol=2e-2, atol=2e-2 * float(added.abs().max()))
        # Some models multiply what they add by a constant.
        multiplier = 1.0 if close(both) else float((added * both).sum() / (both * both).sum())
        if not close(multiplier * both):
            raise InterventionError(
                f"{type(self.layer).__name__} (layer {number}) does not add the outputs of its attention and its MLP "
                "to its input, so what each head contributes is not known"
            )
        heads = self._heads(attention_norm)
        return attention * multiplier, mlp * multiplier, heads * multiplier

    def _after_norm(self, name: str) -> tuple[Tensor, nn.Module | None]:
        """The output of a module as it is added, and the norm that it passes first, if there is one."""
        for norm, given, output in self.norms.values():
            if torch.equal(given, self.seen[name]):
                return _wide(output), norm
        return self.state(name), None

    def _heads(self, norm: nn.Module | None) -> Tensor:
        """(heads, width) what each head adds."""
        projection, count = find_output_projection(self.layer), head_count(self.layer)
        outputs = self.state("heads").unflatten(0, (count, -1))
        weight = _wide(projection.weight).unflatten(1, (count, -1))  # (width, heads, head width)
        heads = torch.einsum("hd,whd->hw", outputs, weight)
        return heads if norm is None else frozen_norm(norm, self.seen["attention"])(heads)
