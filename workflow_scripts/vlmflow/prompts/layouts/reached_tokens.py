"""Which image token each pixel of a model's inputs reaches, by the gradients of the embeddings before the decoder.

In the image encoder, attention and MLPs are muted: they mix patches, or add nothing to where information comes from.
What is left carries every pixel to the tokens of its own patch.  Each token's embedding is made one number, which is
given a sign for each binary digit of the token's index.  Where the gradients of the sums with all of these signs agree
in size, a pixel reaches one token, and their signs are its index.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmflow.engine.forward import naming_the_model
from vlmflow.engine.hooks import removed_after
from vlmflow.engine.modules import find_decoder, find_layers, module_kind

NONE, SEVERAL = -1, -2
# Largest relative difference between gradients of the same size.
TOLERANCE = 0.1


class _ReachedError(BaseException):
    """Ends a forward before the first decoder layer."""


def embeddings(model: PreTrainedModel, inputs: Mapping[str, Tensor], positions: Tensor) -> Tensor:
    """(positions, width): the states before the first decoder layer at the given positions of one prompt."""
    kept: list[Tensor] = []

    def stop(_layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])
        raise _ReachedError

    handle = find_layers(model)[0].register_forward_pre_hook(stop, with_kwargs=True)
    with removed_after([handle]), suppress(_ReachedError), naming_the_model(model):
        model(**inputs, use_cache=False)
    return kept[0][0, positions]


@contextmanager
def muted_encoder(model: PreTrainedModel) -> Iterator[None]:
    """While the block runs, attention and MLPs outside of the decoder add nothing to the states, and are not computed,
    except for the first of each kind, whose output shows the form of all."""
    inside = set(find_decoder(model).modules())
    layers = {
        module
        for module in model.modules()
        if module not in inside and any(module_kind(child) == "attention" for child in module.children())
    }
    # Some encoders call a complete layer by the name of its attention, which is inside of it.
    parts = {child for layer in layers for child in layer.children() if module_kind(child) and child not in layers}
    forms: dict[type, Any] = {}

    def muted(part: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else next(iter(kwargs.values()))
        output = forms.get(type(part))
        if output is None:
            output = forward(*args, **kwargs)
            first = output[0] if isinstance(output, tuple) else output
            if first.shape == states.shape:  # otherwise the form depends on something else
                forms[type(part)] = output
            states = first
        return (torch.zeros_like(states), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(states)

    with ExitStack() as stack:
        for part in parts:
            own = part.__dict__.get("forward")  # where a library has replaced it for this module
            stack.callback(part.__dict__.pop if own is None else part.__dict__.__setitem__, "forward", own)
            part.forward = partial(muted, part, part.forward)
        yield


def reached_tokens(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], names: list[str], positions: Tensor
) -> dict[str, Tensor]:
    """Model input → for each of its entries the index of the image token that it reaches, NONE or SEVERAL.

    Args:
        model: in any dtype.
        inputs: of one prompt.
        names: of the inputs that depend on the image.
        positions: of the image tokens.
    """
    watched = {name: inputs[name].detach().clone().requires_grad_() for name in names}
    with muted_encoder(model), torch.enable_grad():
        states = embeddings(model, {**inputs, **watched}, positions)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (states.shape[1],), generator=generator) * 2 - 1
    with torch.enable_grad():
        number = states @ signs.to(states)
        index = torch.arange(len(number), device=number.device)

        def gradients(weights: Tensor) -> list[Tensor]:
            if not number.requires_grad:
                return [torch.zeros_like(value) for value in watched.values()]
            found = torch.autograd.grad(
                (number * weights.to(number)).sum(), list(watched.values()), retain_graph=True, allow_unused=True
            )
            return [
                torch.zeros_like(value) if each is None else each
                for each, value in zip(found, watched.values(), strict=True)
            ]

        ones = gradients(torch.ones_like(index))
        tokens = [torch.zeros_like(each, dtype=torch.long) for each in ones]
        same = [torch.ones_like(each, dtype=torch.bool) for each in ones]
        for bit in range(max(1, (len(number) - 1).bit_length())):
            for place, (signed, unsigned) in enumerate(zip(gradients(1 - 2 * (index >> bit & 1)), ones, strict=True)):
                same[place] &= (signed.abs() - unsigned.abs()).abs() <= TOLERANCE * unsigned.abs()
                tokens[place] |= ((signed * unsigned.sign()) < 0).long() << bit
    result = {}
    for name, unsigned, token, one in zip(names, ones, tokens, same, strict=True):
        token = torch.where(one, token, SEVERAL)
        result[name] = torch.where(unsigned == 0, NONE, token).cpu()
    return result
