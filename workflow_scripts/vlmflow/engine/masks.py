"""Attention masks: those of a recorded forward, and those under interventions.

`Masks` has what each layer of the recorded forward allows; `blocked_attention` is what interventions forbid, and
`mask_under` combines the two into the mask with which a layer is replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .interventions import Intervention


@dataclass(frozen=True)
class Masks:
    """The masks of a forward's layers, each distinct one once.

    Attributes:
        matrices: each (N, N), True where a position may attend to another.
        of_layer: for each layer, the index of its matrix.
        recurrent: numbers of the layers without attention, in which information flows to all later positions.
    """

    matrices: tuple[Tensor, ...]
    of_layer: tuple[int, ...]
    recurrent: frozenset[int] = frozenset()

    @classmethod
    def read(
        cls,
        masks: Sequence[Tensor | None],
        length: int,
        device: torch.device,
        recurrent: frozenset[int] = frozenset(),
    ) -> "Masks":
        """The masks that the layers were called with, on one device.

        Args:
            masks: of each layer, in any form that `transformers` gives them.
            length: N, the number of positions.
            device: the device of the matrices.
            recurrent: numbers of the layers without attention.
        """
        distinct: list[Tensor | None] = []
        of_layer: list[int] = []
        for mask in masks:
            # Most models pass one tensor to all layers, or one to those with and one to those without a window.
            number = next((n for n, known in enumerate(distinct) if known is mask), len(distinct))
            distinct += [mask] if number == len(distinct) else []
            of_layer.append(number)
        return cls(tuple(attention_matrix(mask, length, device) for mask in distinct), tuple(of_layer), recurrent)

    @property
    def length(self) -> int:
        """N, the number of positions."""
        return self.matrices[0].shape[0]

    def layer(self, number: int) -> Tensor:
        """(N, N) the matrix of a layer."""
        return self.matrices[self.of_layer[number]]

    @cached_property
    def on_cpu(self) -> tuple[Tensor, ...]:
        """The matrices, on the CPU."""
        return tuple(matrix.cpu() for matrix in self.matrices)

    @cached_property
    def in_any_layer(self) -> Tensor:
        """(N, N) True where a position may attend to another in at least one layer; on the CPU."""
        return torch.stack(self.on_cpu).any(dim=0)

    def attention_matrices(self, start: int, stop: int) -> list[Tensor]:
        """The distinct matrices of the layers with attention from `start` up to and without `stop`; on the CPU."""
        numbers = {self.of_layer[layer] for layer in range(start, stop) if layer not in self.recurrent}
        return [self.on_cpu[number] for number in sorted(numbers)]

    def attend_ahead(self, end: int) -> bool:
        """Whether any of the first `end` positions attends to a later one."""
        return bool(self.in_any_layer[:end, end:].any())


def attention_matrix(mask: Tensor | None, length: int, device: torch.device) -> Tensor:
    """(N, N) True where a position may attend, of a layer's mask; None means plain causal attention."""
    if mask is None:
        return torch.ones(length, length, dtype=torch.bool, device=device).tril()
    matrix = mask[0, 0, :, :length]
    return (matrix if matrix.dtype == torch.bool else matrix > torch.finfo(matrix.dtype).min / 2).to(device)


def blocked_attention(interventions: Sequence[Intervention], queries: Tensor, keys: Tensor) -> Tensor:
    """(interventions, queries, keys) True where an intervention forbids attention.

    Args:
        interventions: a row for each.
        queries, keys: positions, from 0.
    """
    none_blocked = torch.zeros(len(queries), len(keys), dtype=torch.bool)
    by_row = [intervention.blocks(queries, keys) for intervention in interventions]
    return torch.stack([none_blocked if each is None else each for each in by_row])


def mask_under(blocked: Tensor, active: Tensor, may_attend: Tensor) -> Tensor:
    """(rows, 1, queries, keys) True where attention is allowed in a layer under each row's intervention.

    Args:
        blocked: (rows, queries, keys) as `blocked_attention` gives it.
        active: (rows) True for those whose intervention changes this layer.
        may_attend: (queries, keys) True where the recorded layer allows attention.
    """
    return (may_attend & ~(blocked & active[:, None, None]))[:, None]


def first_changed(may_attend: Tensor, start: int) -> int:
    """The first position that can change once those from `start` on do: `start` itself in a causal decoder, an
    earlier one where positions of a block attend to each other."""
    while True:
        # Positions before `start` that attend to any from `start` on change with it.
        attending = may_attend[:start, start:].any(dim=1).nonzero()
        if len(attending) == 0:
            return start
        start = int(attending[0])


def last_needed(may_attend: Tensor, end: int) -> int:
    """The position before which all positions have to be computed if those before `end` are read: `end` itself in a
    causal decoder, a later one where positions of a block attend to each other."""
    while True:
        attended = may_attend[:end, end:].any(dim=0).nonzero()
        if len(attended) == 0:
            return end
        end += int(attended[-1]) + 1


def mask_in_form(may_attend: Tensor, recorded: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A boolean mask in the form of the recorded one: boolean, or numbers that are added to the scores."""
    if recorded is None or recorded.dtype == torch.bool:
        return may_attend
    zeros = torch.zeros(may_attend.shape, dtype=dtype, device=may_attend.device)
    return zeros.masked_fill(~may_attend, torch.finfo(dtype).min)
