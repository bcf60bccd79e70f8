"""The plain method, one full forward per intervention: the oracle of the tests and of the benchmark.

It shares with the replay only the interventions' own `blocks` and `edits`, and the search for modules.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .interventions import Edit, Intervention
from .modules import find_module, find_output_projection, head_count
from .record import last_logits
from .recording import Layers, states_of
from .recurrent import recurrent_layers


@torch.inference_mode()
def plain(
    model: PreTrainedModel,
    layers: Layers,
    inputs: dict[str, Tensor],
    interventions: Sequence[Intervention],
    positions: Tensor | None = None,
) -> Tensor:
    """States after the last layer under each intervention, (interventions, positions, width), not normed: what `replay`
    computes, by one full forward per intervention.

    Args:
        model: of `transformers`.
        layers: its decoder's.
        inputs: of a prompt, a batch of one.
        interventions: in any order.
        positions: (P) where states are read, counted from 0; the last position alone by default.
    """
    states: list[Tensor] = []
    read = torch.tensor([-1]) if positions is None else positions
    recurrent = recurrent_layers(model)

    def keep(_layer: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
        states.append(states_of(output)[0, read])

    for intervention in interventions:
        with ExitStack() as stack:
            for part in intervention.parts:
                for number in range(part.start, part.stop):
                    for handle in _hooks(layers[number], part, number not in recurrent):
                        stack.callback(handle.remove)
            stack.callback(layers[-1].register_forward_hook(keep).remove)
            model(**inputs, use_cache=False, **last_logits(model))
    return torch.stack(states)


def _hooks(layer: nn.Module, intervention: Intervention, attends: bool) -> Iterator[Any]:
    if attends:
        yield layer.register_forward_pre_hook(partial(_mask, intervention), with_kwargs=True)
    for edit in intervention.edits():
        if edit.site == "input":
            yield layer.register_forward_pre_hook(partial(_edit_input, edit))
        elif edit.site == "head":
            heads = head_count(layer)
            yield find_output_projection(layer).register_forward_pre_hook(partial(_edit_heads, edit, heads))
        else:
            yield find_module(layer, edit.site).register_forward_hook(partial(_edit_output, edit))


def _mask(
    intervention: Intervention, layer: nn.Module, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]] | None:
    """The layer's arguments, with the attention that the intervention blocks removed from the mask."""
    length, device = args[0].shape[1], args[0].device
    everywhere = torch.arange(length)
    blocked = intervention.blocks(everywhere, everywhere)
    if blocked is None:
        return None
    mask = kwargs.get("attention_mask")
    if mask is None:
        mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
    if intervention.heads is not None:
        named = torch.zeros(head_count(layer), 1, 1, dtype=torch.bool)
        named[intervention.heads] = True
        mask, blocked = mask.expand(-1, len(named), -1, -1), named & blocked
    forbidden = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    return args, kwargs | {"attention_mask": mask.masked_fill(blocked.to(mask.device), forbidden)}


def _edit_input(edit: Edit, _layer: nn.Module, args: tuple) -> tuple:
    return (_edited(edit, args[0]), *args[1:])


def _edit_heads(edit: Edit, count: int, _projection: nn.Module, args: tuple) -> tuple:
    """The heads' outputs (1, N, heads × head width), replaced position by position and head by head."""
    states = args[0].clone()
    width = states.shape[2] // count
    for number, position in enumerate(edit.positions.tolist()):
        for place, head in enumerate([] if edit.heads is None else edit.heads.tolist()):
            value = 0 if edit.states is None else edit.states[number, place].to(states)
            states[0, position, head * width : (head + 1) * width] = value
    return (states, *args[1:])


def _edit_output(edit: Edit, _module: nn.Module, _args: tuple, output: Any) -> Any:
    return (_edited(edit, output[0]), *output[1:]) if isinstance(output, tuple) else _edited(edit, output)


def _edited(edit: Edit, states: Tensor) -> Tensor:
    """The states (1, N, width), replaced position by position; (N, width) where a module returns them so."""
    if states.ndim == 2:
        return _edited(edit, states[None])[0]
    states = states.clone()
    for number, position in enumerate(edit.positions.tolist()):
        states[0, position] = 0 if edit.states is None else edit.states[number].to(states)
    return states
