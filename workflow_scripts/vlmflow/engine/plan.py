"""Plan a replay: which interventions are computed together, over which positions.  Planning needs no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vlmflow.errors import InterventionError

from .interventions import Intervention
from .masks import Masks, first_changed, last_needed

# A row of a batch counts as at least its positions divided by this, which limits the memory of masks and keys.
PREFIX_TOKENS_PER_TOKEN = 32


@dataclass(frozen=True)
class Group:
    """Interventions that change the same suffix of the prompt, and become rows of the same batches.

    Attributes:
        start: the first position that any of them changes.
        end: the position after the last one that is computed.
        rows: numbers of the interventions, in the order in which they join: by their first layer.
    """

    start: int
    end: int
    rows: tuple[int, ...]

    @property
    def row_size(self) -> int:
        """What a row adds to the size of a batch: its computed positions, or a share of all, whichever is larger."""
        return max(self.end - self.start, self.end // PREFIX_TOKENS_PER_TOKEN)

    def batch(self, done: int, size: int) -> tuple[int, ...]:
        """The next rows, after the `done` first ones, that fit into a batch of this size; at least one."""
        return self.rows[done : done + max(1, size // self.row_size)]


def plan(
    masks: Masks, interventions: Sequence[Intervention], positions: Tensor, changed: Tensor | None = None
) -> list[Group]:
    """The groups in which interventions are replayed; an intervention that changes no position that is read is in none.

    Args:
        masks: of the recorded forward.
        interventions: in any order.
        positions: (P) where states are read, counted from 0.
        changed: (N) True where the model itself changes states between two layers, which a replay does not repeat.

    Raises:
        InterventionError: an intervention has no positions or layers, leaves a position nothing to attend to, or
            reaches a position where the model itself changes states.
    """
    for intervention in interventions:
        check_intervention(intervention, masks)
    end = last_needed(masks.in_any_layer, int(positions.max()) + 1)
    suffixes: dict[int, int] = {}  # by the first position that an intervention changes itself
    rows: dict[int, list[int]] = {}
    for number, intervention in enumerate(interventions):
        first = int(intervention.changes.min())
        if first not in suffixes:
            suffixes[first] = first_changed(masks.in_any_layer, first)
        rows.setdefault(suffixes[first], []).append(number)
    groups = []
    for start in sorted(start for start in rows if start < end):
        if changed is not None and changed[start:end].any():
            raise InterventionError(
                "the model changes states between its layers at positions that this intervention reaches"
            )
        order = sorted(rows[start], key=lambda number: interventions[number].start)
        groups.append(Group(start, end, tuple(order)))
    return groups


def check_intervention(intervention: Intervention, masks: Masks) -> None:
    """Check that an intervention has a meaning on a recorded forward.

    Raises:
        InterventionError: it has no positions or layers, forbids nothing, or leaves a position nothing to attend to.
    """
    if not intervention.parts:
        raise InterventionError("an intervention needs at least one part")
    checked = [(part, _check_part(part, masks)) for part in intervention.parts]
    forbidden = [_Forbidden(part, part.changes, blocked) for part, blocked in checked if blocked is not None]
    if len(forbidden) > 1:  # parts with positions of their own are checked on the positions of all
        targets = torch.cat([each.targets for each in forbidden]).unique()
        forbidden = [_Forbidden.at(each.part, targets, masks.length) for each in forbidden]
    for start, stop in _spans([each.part for each in forbidden]):
        active = [each for each in forbidden if each.part.start <= start and stop <= each.part.stop]
        for matrix in masks.attention_matrices(start, stop):
            _check_attention_is_left(active, matrix)


@dataclass(frozen=True)
class _Forbidden:
    """The attention that a part forbids: (targets, N)."""

    part: Intervention
    targets: Tensor
    blocked: Tensor

    @classmethod
    def at(cls, part: Intervention, targets: Tensor, length: int) -> "_Forbidden":
        """At any positions."""
        blocked = part.blocks(targets, torch.arange(length))
        return cls(part, targets, torch.zeros(len(targets), length, dtype=torch.bool) if blocked is None else blocked)


def _check_part(part: Intervention, masks: Masks) -> Tensor | None:
    """What a part forbids at the positions that it changes."""
    targets, layers = part.changes, len(masks.of_layer)
    blocked = part.blocks(targets, torch.arange(masks.length))
    if len(targets) == 0 or (blocked is not None and not blocked.any()):
        raise InterventionError("an intervention needs at least one source and one target position")
    if not 0 <= part.start < part.stop <= layers:
        raise InterventionError(f"layers {part.start} to {part.stop - 1}: the model has 0 to {layers - 1}")
    if blocked is None:
        return None
    # A sliding window may hide the sources in some layers, but not in all of them.
    if not any((matrix[targets] & blocked).any() for matrix in masks.attention_matrices(0, layers)):
        raise InterventionError("no target position attends to a source position; there is nothing to knock out")
    if not masks.attention_matrices(part.start, part.stop):
        raise InterventionError(
            f"none of the layers {part.start} to {part.stop - 1} has attention, so there is nothing to knock out"
        )
    return blocked


def _spans(parts: Sequence[Intervention]) -> list[tuple[int, int]]:
    """The spans (first layer, last layer + 1) in which the same parts are active, from the first to the last layer."""
    ends = sorted({end for part in parts for end in (part.start, part.stop)})
    return list(pairwise(ends))


def _check_attention_is_left(forbidden: Sequence[_Forbidden], matrix: Tensor) -> None:
    """Check that parts which act in the same layer leave each of their positions something to attend to, in each
    head."""
    if not forbidden:
        return
    targets = forbidden[0].targets
    in_all = torch.zeros_like(forbidden[0].blocked)
    in_some: dict[int, Tensor] = {}  # head → what is forbidden in it alone
    for each in forbidden:
        if each.part.heads is None:
            in_all = in_all | each.blocked
        for head in () if each.part.heads is None else each.part.heads.tolist():
            in_some[head] = in_some[head] | each.blocked if head in in_some else each.blocked
    # Heads in which the same part is named have the same matrix.
    for blocked in {id(each): each for each in (in_all, *in_some.values())}.values():
        attends = (matrix[targets] & ~(in_all | blocked)).any(dim=1)
        if not attends.all():
            raise InterventionError(
                f"after the knockout, position {int(targets[~attends][0])} would have nothing to attend to"
            )
