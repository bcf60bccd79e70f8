"""Find the parts of a model of `transformers` by what they are, whatever they are called."""

from torch import nn
from transformers import PreTrainedModel

from .jobs import JobError


class ModelError(JobError):
    """A model that cannot be loaded, or that is not built as the engine needs; the message says what is missing."""


class DoesNotApplyError(ValueError):
    """A measurement that has no meaning for this kind of model; the message says why."""


def find_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers: the one list in the decoder that is as long as its configuration says."""
    decoder = model.get_decoder()
    count = model.config.get_text_config().num_hidden_layers
    lists = [module for module in decoder.children() if isinstance(module, nn.ModuleList) and len(module) == count]
    if len(lists) != 1:
        raise ModelError(f"{type(decoder).__name__} has {len(lists)} lists of {count} layers; expected exactly one")
    return lists[0]


def find_norm(model: PreTrainedModel) -> nn.Module:
    """The decoder's final norm: its only direct child that is a norm."""
    decoder = model.get_decoder()
    norms = [module for name, module in decoder.named_children() if "norm" in name.lower() or name == "ln_f"]
    if len(norms) != 1:
        raise ModelError(f"{type(decoder).__name__} has {len(norms)} final norms; expected exactly one")
    return norms[0]


def find_projector(model: PreTrainedModel) -> nn.Module:
    """What turns the image encoder's features into embeddings of the decoder.

    Raises:
        DoesNotApplyError: the model has no such part that takes each feature by itself.
    """
    found = [module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] == "multi_modal_projector"]
    if len(found) != 1:
        raise DoesNotApplyError(
            f"does not apply: {type(model).__name__} has {len(found)} parts called multi_modal_projector; expected "
            "one, whose input are the image encoder's features"
        )
    return found[0]
