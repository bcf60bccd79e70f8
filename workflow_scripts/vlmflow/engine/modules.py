"""Find the modules of a model of `transformers` by structure and class, whatever the architecture calls them."""

from collections.abc import Iterable
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from vlmflow.errors import InterventionError, ModelError, NotApplicableError

Module = Literal["attention", "mlp"]
# Words in the class names of a decoder layer's modules.
CLASS_WORDS: dict[Module, tuple[str, ...]] = {
    "attention": ("attention", "attn"),
    "mlp": ("mlp", "feedforward", "moe", "experts"),
}
# Words in the class names of modules that are neither: norms, and what hybrids have in place of attention.
OTHERS = ("norm", "deltanet", "shortconv")
# Names of the final norm where a decoder has other norms too, such as one for embeddings of each layer.
FINAL_NORMS = ("norm", "final_layer_norm", "final_layernorm", "ln_f", "layer_norm")


def find_decoder(model: PreTrainedModel) -> nn.Module:
    """The module that holds the decoder's layers, however deep it lies: the outermost with a list of modules that is as
    long as the configuration says.

    Raises:
        ModelError: there is no such module, or more than one.
    """
    inner = model.get_decoder()
    # The decoder that a model names may be a complete language model, which has a decoder of its own.
    while getattr(inner, "get_decoder", None) and (deeper := inner.get_decoder()) is not inner:
        inner = deeper
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    level, lists = [inner], 0
    while level and not lists:
        candidates = [module for module in level if _lists(module, count)]
        lists = sum(len(_lists(module, count)) for module in candidates)
        level = [child for module in level for child in module.children()]
    if lists != 1:
        raise ModelError(f"{type(inner).__name__} has {lists} lists of {count} layers; expected exactly one")
    return candidates[0]


def find_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers: the one list in the decoder that is as long as its configuration says.

    Raises:
        ModelError: there is no such list, or more than one.
    """
    return _lists(find_decoder(model), model.config.get_text_config(decoder=True).num_hidden_layers)[0]


def _lists(module: nn.Module, count: int) -> list[nn.ModuleList]:
    return [child for child in module.children() if isinstance(child, nn.ModuleList) and len(child) == count]


def find_norm(model: PreTrainedModel) -> nn.Module:
    """The decoder's final norm: its only direct child that is a norm, or the only one with a usual name.

    Raises:
        ModelError: there is no such module, or more than one.
    """
    decoder = find_decoder(model)
    norms = {name: child for name, child in decoder.named_children() if "norm" in name.lower() or name == "ln_f"}
    if len(norms) != 1:
        norms = {name: child for name, child in norms.items() if name in FINAL_NORMS}
    if len(norms) != 1:
        raise ModelError(f"{type(decoder).__name__} has {len(norms)} final norms; expected exactly one")
    return next(iter(norms.values()))


def find_projector(model: PreTrainedModel) -> nn.Module:
    """The module that turns the image encoder's features into embeddings of the decoder.

    Raises:
        NotApplicableError: the model has no such module that takes each feature by itself.
    """
    candidates = [
        module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "multi_modal_projector"
    ]
    if len(candidates) != 1:
        raise NotApplicableError(
            f"does not apply: {type(model).__name__} has {len(candidates)} modules called multi_modal_projector; "
            "expected one, whose input is the image encoder's features"
        )
    return candidates[0]


def find_module(layer: nn.Module, module: Module) -> nn.Module:
    """The attention, or the MLP, of a decoder layer.

    Raises:
        InterventionError: the layer has none, or several, of that kind.
    """
    candidates = [child for child in layer.children() if module_kind(child) == module]
    if len(candidates) != 1:
        raise InterventionError(
            f"{type(layer).__name__} has {len(candidates)} modules that may be its {module}; expected one"
        )
    return candidates[0]


# Names of the linear map that joins the heads' outputs.
OUTPUT_PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj", "wo", "proj", "linear_out")


def find_output_projection(layer: nn.Module) -> nn.Linear:
    """The linear map of a layer's attention whose input is the outputs of all heads, one behind the other.

    Raises:
        InterventionError: the attention has no such map, or several, or its input is not cut evenly into heads.
    """
    attention = find_module(layer, "attention")
    found = [child for name, child in attention.named_children() if name in OUTPUT_PROJECTIONS]
    if len(found) != 1 or not isinstance(found[0], nn.Linear):
        raise InterventionError(
            f"{type(attention).__name__} has {len(found)} modules that may be its output projection; expected one, so "
            "its heads cannot be told apart"
        )
    if found[0].in_features % head_count(layer):
        raise InterventionError(
            f"the output projection of {type(attention).__name__} takes {found[0].in_features} numbers, which are not "
            f"{head_count(layer)} heads of one width"
        )
    return found[0]


def attention_layer(layers: Iterable[nn.Module]) -> nn.Module:
    """The first layer that has attention.

    Raises:
        InterventionError: none has.
    """
    for layer in layers:
        if has_attention(layer):
            return layer
    raise InterventionError("no layer of the model has a module that may be its attention")


def has_attention(layer: nn.Module) -> bool:
    """Whether a layer has a module that may be its attention; a recurrent one has none."""
    return any(module_kind(child) == "attention" for child in layer.children())


def head_count(layer: nn.Module) -> int:
    """The number of heads of a layer's attention, by its configuration; they may share keys, see `key_head_count`.

    Raises:
        InterventionError: it has no configuration that says so.
    """
    return _count(layer, "num_attention_heads")


def key_head_count(layer: nn.Module) -> int:
    """The number of heads with keys and values of their own; neighbouring heads share one.

    Raises:
        InterventionError: the layer's attention has no configuration that says so.
    """
    config = getattr(find_module(layer, "attention"), "config", None)
    return _count(
        layer, "num_key_value_heads" if getattr(config, "num_key_value_heads", None) else "num_attention_heads"
    )


def _count(layer: nn.Module, name: str) -> int:
    attention = find_module(layer, "attention")
    count = getattr(getattr(attention, "config", None), name, None)
    if not isinstance(count, int):
        raise InterventionError(f"the configuration of {type(attention).__name__} does not give {name}")
    return count


def module_kind(part: nn.Module) -> Module | None:
    """The kind of a module of a decoder layer by the name of its class: attention is checked first, since the
    class of a mixture of experts' attention may have the word for its experts in its name too."""
    name = type(part).__name__.lower()
    if any(word in name for word in OTHERS):
        return None
    return next((module for module, words in CLASS_WORDS.items() if any(word in name for word in words)), None)
