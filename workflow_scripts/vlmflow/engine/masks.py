"""Attention masks: those of a recorded forward, and those under interventions.

`Masks` has what each layer of the recorded forward allows; `blocked_attention` is what interventions forbid, and
`BlockedAttention.mask` combines the two into the mask with which a layer is replayed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vlmflow.errors import InterventionError

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


@dataclass(frozen=True)
class BlockedAttention:
    """The attention that the rows of a batch forbid, each part of an intervention in its own layers.

    Attributes:
        rows, starts, stops: (P) of each part: its row in the batch, and its layers `start` … `stop` − 1; in the order
            of the rows.
        blocked: (P, queries, keys) True where it forbids attention.
        heads: (P, heads) True for the heads in which it does; None if all parts do in all heads.
    """

    rows: Tensor
    starts: Tensor
    stops: Tensor
    blocked: Tensor
    heads: Tensor | None

    def mask(self, number: int, rows: int, may_attend: Tensor) -> Tensor:
        """(rows, 1 or heads, queries, keys) True where attention is allowed in a layer.

        Args:
            number: of the layer.
            rows: the number of rows that run through it, the first ones of the batch.
            may_attend: (queries, keys) True where the recorded layer allows attention.
        """
        active = ((self.starts <= number) & (number < self.stops)).nonzero().flatten()
        heads = None if self.heads is None else self.heads[active.to(self.heads.device)]
        width = 1 if heads is None or not len(active) else heads.shape[1]
        allowed = may_attend.repeat(rows, width, 1, 1)
        for chosen in each_once(self.rows[active]):
            where = active[chosen].to(self.blocked.device)
            forbidden = self.blocked[where][:, None]
            if heads is not None:
                forbidden = forbidden & heads[chosen.to(heads.device)][:, :, None, None]
            allowed[self.rows[active[chosen]].to(allowed.device)] &= ~forbidden.to(allowed.device)
        return allowed


def blocked_attention(
    interventions: Sequence[Intervention],
    queries: Tensor,
    keys: Tensor,
    heads: Callable[[], int],
    device: torch.device,
) -> BlockedAttention:
    """What interventions forbid, a row for each.

    Args:
        interventions: in the order of the rows.
        queries, keys: positions, from 0.
        heads: gives the number of heads of a layer; called only if an intervention names some.
        device: on which masks are computed.

    Raises:
        InterventionError: an intervention names a head that there is not.
    """
    parts: list[tuple[int, Intervention]] = []
    blocked: list[Tensor] = []
    for row, intervention in enumerate(interventions):
        for part in intervention.parts:
            if (forbidden := part.blocks(queries, keys)) is not None:
                parts.append((row, part))
                blocked.append(forbidden)
    none = torch.zeros(0, len(queries), len(keys), dtype=torch.bool)
    return BlockedAttention(
        rows=torch.tensor([row for row, _ in parts], dtype=torch.long),
        starts=torch.tensor([part.start for _, part in parts], dtype=torch.long),
        stops=torch.tensor([part.stop for _, part in parts], dtype=torch.long),
        blocked=(torch.stack(blocked) if blocked else none).to(device),
        heads=heads_blocked([part for _, part in parts], heads, device),
    )


def heads_blocked(parts: Sequence[Intervention], heads: Callable[[], int], device: torch.device) -> Tensor | None:
    """(parts, heads) True for the heads in which a part forbids attention; None if all of them do in all heads.

    Raises:
        InterventionError: a part names a head that there is not.
    """
    if all(part.heads is None for part in parts):
        return None
    named = torch.ones(len(parts), heads(), dtype=torch.bool)
    for number, part in enumerate(parts):
        if part.heads is not None:
            check_heads(part.heads, named.shape[1])
            named[number] = torch.isin(torch.arange(named.shape[1]), part.heads)
    return named.to(device)


def check_heads(named: Tensor, heads: int) -> None:
    """Check that a layer has the heads that are named.

    Raises:
        InterventionError: it does not, or none is named.
    """
    if not len(named):
        raise InterventionError("an intervention on heads needs at least one of them")
    if int(named.min()) < 0 or int(named.max()) >= heads:
        raise InterventionError(f"heads {int(named.min())} to {int(named.max())}: a layer has 0 to {heads - 1}")


def each_once(numbers: Tensor) -> Iterator[Tensor]:
    """Indices into sorted numbers, in as few sets as possible in each of which no number occurs twice."""
    _, counts = numbers.unique_consecutive(return_counts=True)
    rank = torch.arange(len(numbers)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    for turn in range(int(counts.max()) if len(counts) else 0):
        yield (rank == turn).nonzero().flatten()


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
