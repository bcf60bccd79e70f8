"""The states at one site of every layer, in one ordinary forward: those of a donor, or of which means are taken."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .forward import naming_the_model
from .hooks import hook_site, removed_after
from .interventions import Site
from .modules import has_attention
from .record import last_logits
from .recording import Layers

SiteStates = Sequence[Tensor | None]


@torch.inference_mode()
def site_states(
    model: PreTrainedModel,
    layers: Layers,
    inputs: dict[str, Tensor],
    site: Site,
    positions: Tensor,
) -> SiteStates:
    """The states of each layer at a site: (P, width), or (P, heads, head width) at the site `head`; None for a layer
    without attention, which has neither heads nor an output of its attention.

    Args:
        model: of `transformers`.
        layers: its decoder's.
        inputs: of a prompt, a batch of one.
        site: where states are read.
        positions: (P) at which they are read, from 0.

    Raises:
        InterventionError: a layer has no such site.
    """
    found: list[Tensor | None] = [None] * len(layers)

    def keep(number: int, states: Tensor) -> Tensor:
        found[number] = states[0, positions.to(states.device)].clone()
        return states

    everywhere = site not in ("head", "attention")
    read = [(number, layer) for number, layer in enumerate(layers) if everywhere or has_attention(layer)]
    handles = (hook_site(layer, site, partial(keep, number)) for number, layer in read)
    with removed_after(handles), naming_the_model(model):
        model(**inputs, use_cache=False, **last_logits(model))
    return found
