"""Record one ordinary forward: the arguments, keys and values of each decoder layer, and the output."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from vlmflow.errors import InterventionError, ModelError

from .forward import naming_the_model
from .hooks import removed_after
from .recording import LayerCall, Layers, Recording, states_of


@torch.inference_mode()
def record(model: PreTrainedModel, layers: Layers, inputs: dict[str, Tensor]) -> tuple[Recording, Tensor]:
    """The recording of one forward of the unmodified model on `inputs` (a batch of one), and its logits.

    Returns:
        the recording, and the model's logits (1, vocabulary) at the last position.
    """
    received: list[tuple[Tensor, dict[str, Any]]] = []
    outputs: list[Tensor] = []

    def before(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        received.append(bound_arguments(layer, args, kwargs))

    def after(_layer: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
        outputs.append(states_of(output))

    # A plain cache keeps every key; one made from the config would drop those outside of a sliding window.
    cache = DynamicCache()
    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    with removed_after(handles), naming_the_model(model):
        logits = model(**inputs, past_key_values=cache, use_cache=True, **last_logits(model)).logits[:, -1]
    if len(received) != len(layers) or received[0][0].shape[0] != 1:
        raise InterventionError(
            f"{len(layers)} decoder layers were called {len(received)} times; expected one call each, batch 1"
        )
    if not logits.isfinite().all():
        raise InterventionError("the model's logits are not finite numbers; another dtype may help")
    kept = _keys_and_values(cache, len(layers), received[0][0].shape[1])
    calls = [LayerCall(hidden, arguments, *pair) for (hidden, arguments), pair in zip(received, kept, strict=True)]
    changed = torch.zeros(outputs[0].shape[1], dtype=torch.bool)
    for output, call in zip(outputs, calls[1:], strict=False):
        if output is not call.hidden:
            changed |= (output != call.hidden.to(output.device)).any(dim=(0, 2)).cpu()
    return Recording(calls, outputs[-1], changed), logits


def _keys_and_values(cache: DynamicCache, layers: int, length: int) -> list[tuple[Tensor, Tensor]]:
    """The keys and values of each layer, one of each per position.

    Raises:
        ModelError: a layer keeps none, or keeps those of something outside of the prompt.
    """
    kept = [(layer.keys, layer.values) for layer in cache.layers if getattr(layer, "keys", None) is not None]
    if len(kept) != layers:
        raise ModelError(
            f"{len(kept)} of the decoder's {layers} layers keep keys of their own; the "
            "others share those of another layer, or do not attend to the prompt. Such models are not measured yet"
        )
    for number, (keys, _) in enumerate(kept):
        if keys.shape[2] != length:
            raise ModelError(
                f"layer {number} of the decoder attends to {keys.shape[2]} positions, but the prompt has {length}: it "
                "attends to something else, and knocking out positions of the prompt has no meaning there"
            )
    return kept


def bound_arguments(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """(the states that a layer was called with, its other arguments by name)."""
    signature = _signature(type(layer).forward)
    arguments = dict(signature.bind(layer, *args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    _, hidden = (arguments.pop(name) for name in list(arguments)[:2])
    return hidden, arguments


@functools.cache
def _signature(forward: Callable) -> inspect.Signature:
    """The signature of the forward of a kind of layer; its first parameter is the layer itself."""
    return inspect.signature(forward)


def last_logits(model: PreTrainedModel) -> dict[str, int]:
    """The argument that limits a model's logits to the last position; none where the model has no such argument."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
