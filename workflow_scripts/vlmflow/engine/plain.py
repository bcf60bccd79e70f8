"""The plain method, one full forward per intervention: the oracle of the tests and of the benchmark."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .interventions import Intervention, Knockout, ModuleKnockout, muting, removed_after
from .record import Layers, last_logits, states_of


@torch.inference_mode()
def plain(
    model: PreTrainedModel,
    layers: Layers,
    inputs: dict[str, Tensor],
    interventions: Sequence[Intervention],
    positions: Tensor | None = None,
) -> Tensor:
    """What `replay` computes, in its shape, by one full forward per intervention."""
    states: list[Tensor] = []
    read = torch.tensor([-1]) if positions is None else positions

    def keep(_layer: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
        states.append(states_of(output)[0, read])

    for intervention in interventions:
        window = layers[intervention.start : intervention.stop]
        with ExitStack() as stack:
            if isinstance(intervention, ModuleKnockout):
                where = torch.zeros(1, inputs["input_ids"].shape[1], dtype=torch.bool)
                where[0, intervention.positions] = True
                for layer in window:
                    stack.enter_context(muting(layer, {intervention.module: where.to(inputs["input_ids"].device)}))
            else:
                hooks = [layer.register_forward_pre_hook(_masking(intervention), with_kwargs=True) for layer in window]
                stack.enter_context(removed_after(hooks))
            stack.enter_context(removed_after([layers[-1].register_forward_hook(keep)]))
            model(**inputs, use_cache=False, **last_logits(model))
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
