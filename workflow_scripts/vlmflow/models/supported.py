"""Check that a model can be measured: a decoder in which every layer attends to the prompt's own positions.

A model for which measurements would have no meaning is refused with its name: by its configuration, before gigabytes of
weights are read, and by its modules, once it is loaded.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from vlmflow.engine.recurrent import RECURRENT
from vlmflow.errors import ModelError

from .refused_families import REFUSED_FAMILIES

# Kinds of layers that are measured: attention to the prompt's own positions, which can be knocked out, and layers
# without attention whose state is carried along.
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "attention"}
MEASURED = {*ATTENTION, *RECURRENT}

# Words in the names of modules that attend to something outside of the prompt, in lowercase.
CROSSING = ("cross", "encoder_attn", "encdecattention")


def check_family(config: PreTrainedConfig) -> None:
    """Refuse a family of vision-language models that is known not to be measured.

    Raises:
        ModelError: it is one of `REFUSED_FAMILIES`; the message gives the reason.
    """
    if config.model_type in REFUSED_FAMILIES:
        raise ModelError(f"{config.model_type} is not measured: {REFUSED_FAMILIES[config.model_type]}")


def check_config(config: PreTrainedConfig) -> None:
    """Refuse a configuration of a kind that is not measured.

    Raises:
        ModelError: it is an encoder-decoder, has cross-attention or layers without attention, or layers share keys.
    """
    text, name = config.get_text_config(decoder=True), config.model_type
    inner = [config, text, getattr(config, "text_config", None), getattr(config, "decoder", None)]
    if any(getattr(each, "is_encoder_decoder", False) for each in inner):
        raise ModelError(f"{name} is an encoder-decoder; only decoder-only models are measured")
    crossing = getattr(text, "cross_attention_layers", None)
    if not crossing and (interval := getattr(text, "cross_layer_interval", None)):
        crossing = list(range(0, text.num_hidden_layers, interval))
    if crossing:
        raise _crossing(name, f"layers {_listed(crossing)} of the decoder")
    kinds = _layer_kinds(text)
    if others := [number for number, kind in enumerate(kinds) if kind not in MEASURED]:
        found = ", ".join(sorted({kinds[number] for number in others}))
        raise ModelError(
            f"{name} is not measured: layers {_listed(others)} of the decoder are {found}, which is neither plain "
            "attention nor a recurrence that is known"
        )
    if (streams := getattr(text, "altup_num_inputs", 1)) > 1:
        raise ModelError(
            f"{name} keeps {streams} states per position and layer, of which the last are put together in a way of its "
            "own (AltUp); such models are not measured yet"
        )


def check_layers(name: str, layers: nn.ModuleList | list[nn.Module], decoder: nn.Module) -> None:
    """Refuse a decoder that attends to something outside of the prompt, whatever its configuration says.

    Raises:
        ModelError: it has cross-attention.
    """
    crossing = [number for number, layer in enumerate(layers) if _crosses(layer)]
    if crossing:
        raise _crossing(name, f"layers {_listed(crossing)} of the decoder")
    for child, module in decoder.named_children():
        if any(word in child.lower() for word in CROSSING) or (module is not layers and _crosses(module)):
            raise _crossing(name, f"{child} of the decoder")


def _crosses(module: nn.Module) -> bool:
    return any(word in part.lower() for part, _ in module.named_modules() for word in CROSSING)


def _crossing(name: str, where: str) -> ModelError:
    return ModelError(
        f"{name} reads the image by cross-attention ({where}): the image has no positions in the prompt that could be "
        "knocked out; only decoder-only models are measured"
    )


def _layer_kinds(text: Any) -> list[str]:
    """The kind of each layer of the decoder; empty if the configuration does not give it."""
    kinds = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None) or []
    return [str(kind) for kind in kinds]


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown}, …" if len(numbers) > 8 else shown
