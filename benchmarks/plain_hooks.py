"""Knockouts, ablations, patches and attributions by hooks and full forwards, after the published descriptions.

- Attention knockout: Geva et al. (2023), Dissecting Recall of Factual Associations in Auto-Regressive Language Models;
  for vision-language models arXiv 2411.18620, section 3.2.
- Activation patching: Meng et al. (2022), Locating and Editing Factual Associations in GPT, section 2.
- Direct logit attribution: Elhage et al. (2021), A Mathematical Framework for Transformer Circuits.

This module uses torch alone and nothing of vlmflow, so that the two can be compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Inputs = Mapping[str, Tensor]
# The positions of an edge's source, and those of its target.
Pair = tuple[Tensor, Tensor]
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
        mask = self.causal_mask(inputs).repeat(1, 1 if head is None else self.heads, 1, 1)
        mask[0, head or 0, targets[:, None], sources] = torch.finfo(mask.dtype).min
        return self.with_masks(inputs, dict.fromkeys(layers, mask))

    def with_only(self, inputs: Inputs, regions: Sequence[Tensor], kept: Sequence[Sequence[Pair]]) -> Tensor:
        """(vocabulary) logits at the last position while no region attends to another one but by the edges kept.

        Args:
            inputs: of the model.
            regions: the positions of each.
            kept: for each layer, the (sources, targets) of its edges.
        """

        def mask(pairs: Sequence[Pair]) -> Tensor:
            causal = self.causal_mask(inputs)
            blocked = causal.clone()
            for targets, sources in permutations(regions, 2):
                blocked[targets[:, None], sources] = torch.finfo(causal.dtype).min
            for sources, targets in pairs:
                blocked[targets[:, None], sources] = causal[targets[:, None], sources]
            return blocked[None, None]

        return self.with_masks(inputs, {layer: mask(pairs) for layer, pairs in enumerate(kept)})

    def causal_mask(self, inputs: Inputs) -> Tensor:
        """(N, N) what is added to the scores of queries × keys: the least number if the key comes later, else 0."""
        length, dtype = inputs["input_ids"].shape[1], self.model.dtype
        return torch.full((length, length), torch.finfo(dtype).min, dtype=dtype).triu(1)

    def with_masks(self, inputs: Inputs, masks: Mapping[int, Tensor]) -> Tensor:
        """(vocabulary) logits at the last position with masks of one's own in some layers.

        Args:
            inputs: of the model.
            masks: layer → (1, 1 or heads, N, N) what is added to the scores of queries × keys.
        """

        def exchange(mask: Tensor, _layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return args, kwargs | {"attention_mask": mask}

        hooks = (
            self.layers[layer].register_forward_pre_hook(partial(exchange, mask), with_kwargs=True)
            for layer, mask in masks.items()
        )
        return self.logits(inputs, hooks)

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

    @torch.inference_mode()
    def contributions(self, inputs: Inputs, token: int) -> Tensor:
        """(parts) what each part adds to a token's logit, less the mean over the vocabulary, at the last position.

        The parts are the embedding, then for each layer its heads one by one, its attention, and its MLP.
        """
        parts: list[Tensor] = []

        def before(_module: nn.Module, args: tuple) -> None:
            parts.append(args[0][0, -1])

        def after(_module: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
            parts.append((output if isinstance(output, Tensor) else output[0])[0, -1])

        def heads(projection: nn.Module, args: tuple) -> None:
            columns = projection.weight.unflatten(1, (self.heads, -1))
            parts.extend(torch.einsum("whd,hd->hw", columns, args[0][0, -1].unflatten(0, (self.heads, -1))))

        norm, hooks = self.model.model.language_model.norm, []
        hooks += [self.layers[0].register_forward_pre_hook(before), norm.register_forward_pre_hook(before)]
        for layer in self.layers:
            hooks.append(layer.self_attn.o_proj.register_forward_pre_hook(heads))
            hooks.append(layer.self_attn.register_forward_hook(after))
            hooks.append(layer.mlp.register_forward_hook(after))
        self.logits(inputs, hooks)
        *added, output = parts
        direction = (self.model.lm_head.weight[token] - self.model.lm_head.weight.mean(0)) * norm.weight
        # The norm computes in float32 in every dtype, so its scale is read from what it returns.
        scale = norm(output) @ (output * norm.weight) / (output * norm.weight).square().sum()
        return torch.stack(added) @ direction * scale


def edge_runs(
    hooked: HookedLlava,
    inputs: Inputs,
    edges: Sequence[Pair],
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


def only_runs(
    hooked: HookedLlava, inputs: Inputs, regions: Sequence[Tensor], sets: Iterable[Sequence[Sequence[Pair]]]
) -> list[Run]:
    """A run for each set of edges, which are kept alone; see `HookedLlava.with_only`."""
    return [partial(hooked.with_only, inputs, regions, kept) for kept in sets]


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
