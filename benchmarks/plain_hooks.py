"""Knockouts, ablations and patches by hooks, each by one full forward, written after the published descriptions.

- Attention knockout: Geva et al. (2023), Dissecting Recall of Factual Associations in Auto-Regressive Language Models;
  for vision-language models arXiv 2411.18620, section 3.2.
- Activation patching: Meng et al. (2022), Locating and Editing Factual Associations in GPT, section 2.

This module uses torch alone and nothing of vlmflow, so that the two can be compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Inputs = Mapping[str, Tensor]
# One full forward, which returns the logits (vocabulary) at the last position.
Run = Callable[[], Tensor]


def window(layer: int, size: int, layers: int) -> range:
    """The `size` (odd) layers around a layer, cut at both ends of a model of `layers` layers."""
    return range(max(0, layer - size // 2), min(layers, layer + size // 2 + 1))


class HookedLlava:
    """A LLaVA of `transformers` on a Llama; inputs are a batch of one without padding.

    Attributes:
        model: `LlavaForConditionalGeneration`.
        layers: the decoder's.
        heads: number of heads per layer.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.layers = model.model.language_model.layers
        self.heads = model.config.text_config.num_attention_heads

    @torch.inference_mode()
    def logits(self, inputs: Inputs, hooks: Iterable[RemovableHandle] = ()) -> Tensor:
        """(vocabulary) logits at the last position of one full forward, after which the hooks are removed."""
        handles = list(hooks)
        try:
            return self.model(**inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()

    def without_edge(
        self,
        inputs: Inputs,
        sources: Tensor,
        targets: Tensor,
        layers: Iterable[int],
        head: int | None = None,
    ) -> Tensor:
        """(vocabulary) logits at the last position while no target position attends to a source position.

        Args:
            inputs: of the model.
            sources, targets: positions.
            layers: in which the edge is knocked out.
            head: in which alone it is; by default in all.
        """
        length, dtype, least = inputs["input_ids"].shape[1], self.model.dtype, torch.finfo(self.model.dtype).min
        # Added to the scores (1, heads, queries, keys): causal, and without the edge.
        mask = torch.full((length, length), least, dtype=dtype).triu(1)
        mask = mask.repeat(1, 1 if head is None else self.heads, 1, 1)
        mask[0, head or 0, targets[:, None], sources] = least

        def block(_layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return args, kwargs | {"attention_mask": mask}

        return self.logits(
            inputs, (self.layers[layer].register_forward_pre_hook(block, with_kwargs=True) for layer in layers)
        )

    def without_head(self, inputs: Inputs, layer: int, head: int, position: int) -> Tensor:
        """(vocabulary) logits at the last position if one head's output is zero at `position`."""
        attention = self.layers[layer].self_attn
        columns = slice(head * attention.head_dim, (head + 1) * attention.head_dim)

        def ablate(_projection: nn.Module, args: tuple) -> tuple:
            states = args[0].clone()
            states[0, position, columns] = 0
            return (states,)

        return self.logits(inputs, [attention.o_proj.register_forward_pre_hook(ablate)])

    def residual_stream(self, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
        """((vocabulary) logits at the last position, (N, width) input of each layer) of a forward without changes."""
        states: list[Tensor] = []

        def keep(_layer: nn.Module, args: tuple) -> None:
            states.append(args[0][0])

        logits = self.logits(inputs, [layer.register_forward_pre_hook(keep) for layer in self.layers])
        return logits, states

    def with_states(self, inputs: Inputs, layer: int, positions: Tensor, states: Tensor) -> Tensor:
        """(vocabulary) logits at the last position if a layer's input is that of another forward at some positions.

        Args:
            inputs: of the model.
            layer: from 0.
            positions: (P) at which states are replaced.
            states: (N, width) input of the layer in the other forward.
        """

        def patch(_layer: nn.Module, args: tuple) -> tuple:
            patched = args[0].clone()
            patched[0, positions] = states[positions]
            return (patched, *args[1:])

        return self.logits(inputs, [self.layers[layer].register_forward_pre_hook(patch)])


def edge_runs(
    hooked: HookedLlava,
    inputs: Inputs,
    edges: Sequence[tuple[Tensor, Tensor]],
    size: int,
    heads: Iterable[int | None] = (None,),
) -> list[Run]:
    """A run for each edge, head and layer: the edge is knocked out in the `size` layers around the layer.

    Args:
        hooked: the model.
        inputs: of the model.
        edges: (positions of the source, positions of the target).
        size: number of layers, odd.
        heads: in each of which alone edges are knocked out; None for all heads together.
    """
    layers = len(hooked.layers)
    return [
        partial(hooked.without_edge, inputs, sources, targets, window(layer, size, layers), head)
        for sources, targets in edges
        for head in heads
        for layer in range(layers)
    ]


def head_runs(hooked: HookedLlava, inputs: Inputs, position: int) -> list[Run]:
    """A run for each layer and head, whose output is zero at the position."""
    return [
        partial(hooked.without_head, inputs, layer, head, position)
        for layer in range(len(hooked.layers))
        for head in range(hooked.heads)
    ]


def patch_runs(hooked: HookedLlava, inputs: Inputs, segments: Iterable[Tensor], donor: Sequence[Tensor]) -> list[Run]:
    """A run for each segment's positions and each layer, whose input there is that of another forward.

    Args:
        hooked: the model.
        inputs: of the forward that is changed.
        segments: the positions of each.
        donor: the residual stream of the other forward; see `HookedLlava.residual_stream`.
    """
    return [
        partial(hooked.with_states, inputs, layer, positions, states)
        for positions in segments
        for layer, states in enumerate(donor)
    ]
