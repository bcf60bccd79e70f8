"""Record one ordinary forward: the arguments, keys and values of each decoder layer, and the output."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from vlmflow.errors import InterventionError, ModelError

from .forward import naming_the_model
from .hooks import removed_after
from .recording import LayerCall, Layers, Recording, states_of
from .recurrent import is_recurrent, recording_cache
from .shared_keys import kind_of_keys


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

    cache = recording_cache(model)
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
    kept = _keys_and_values(cache, layers, received[0][0].shape[1])
    calls = [
        LayerCall(hidden, arguments, each.keys, each.values, each.takes_keys)
        for (hidden, arguments), each in zip(received, kept, strict=True)
    ]
    changed = torch.zeros(outputs[0].shape[1], dtype=torch.bool)
    for output, call in zip(outputs, calls[1:], strict=False):
        if output is not call.hidden:
            changed |= (output != call.hidden.to(output.device)).any(dim=(0, 2)).cpu()
    return Recording(calls, outputs[-1], changed), logits


@dataclass(frozen=True)
class _Kept:
    """The keys and values of a layer; none for one without attention."""

    keys: Tensor | None = None
    values: Tensor | None = None
    takes_keys: bool = False


def _keys_and_values(cache: DynamicCache, layers: Layers, length: int) -> list[_Kept]:
    """What a forward kept of each layer.

    Raises:
        ModelError: a layer keeps no keys, or keeps those of something outside of the prompt.
    """
    found: list[_Kept] = []
    handed_on: dict[str, _Kept] = {}  # kind of keys → those of the last layer that computed some
    for number, layer in enumerate(layers):
        own: Any = cache.layers[number] if number < len(cache.layers) else None
        if is_recurrent(own):
            found.append(_Kept())
            continue
        kind = kind_of_keys(layer)
        if getattr(own, "keys", None) is not None:
            found.append(_Kept(own.keys, own.values))
            if kind is not None:
                handed_on[kind] = _Kept(own.keys, own.values, takes_keys=True)
        elif kind is not None and kind in handed_on:
            found.append(handed_on[kind])
        else:
            raise ModelError(
                f"layer {number} of the decoder keeps no keys of its own, and takes none from an earlier layer: it "
                "does not attend to the prompt. Such models are not measured yet"
            )
        if (keys := found[-1].keys) is not None and keys.shape[2] != length:
            raise ModelError(
                f"layer {number} of the decoder attends to {keys.shape[2]} positions, but the prompt has {length}: it "
                "attends to something else, and knocking out positions of the prompt has no meaning there"
            )
    return found


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


def last_logits(model: PreTrainedModel) -> dict[str, Any]:
    """The argument that limits a model's logits to the last position; none where the model has no such argument."""
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return {}
    # Given a number, a model whose last layers take keys computes only that many positions in them.
    takes_keys = getattr(model.config.get_text_config(decoder=True), "num_kv_shared_layers", 0)
    return {"logits_to_keep": torch.tensor([-1]) if takes_keys else 1}
