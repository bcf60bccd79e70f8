"""Plan a replay: which interventions are computed together, over which positions.  Planning needs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    targets, layers = intervention.changes, len(masks.of_layer)
    blocked = intervention.blocks(targets, torch.arange(masks.length))
    if len(targets) == 0 or (blocked is not None and not blocked.any()):
        raise InterventionError("an intervention needs at least one source and one target position")
    if not 0 <= intervention.start < intervention.stop <= layers:
        raise InterventionError(
            f"layers {intervention.start} to {intervention.stop - 1}: the model has 0 to {layers - 1}"
        )
    if blocked is None:
        return
    # A sliding window may hide the sources in some layers, but not in all of them.
    if not any((matrix[targets] & blocked).any() for matrix in masks.attention_matrices(0, layers)):
        raise InterventionError("no target position attends to a source position; there is nothing to knock out")
    inside = masks.attention_matrices(intervention.start, intervention.stop)
    if not inside:
        raise InterventionError(
            f"none of the layers {intervention.start} to {intervention.stop - 1} has attention, so there is nothing to "
            "knock out"
        )
    for matrix in inside:
        attends = (matrix[targets] & ~blocked).any(dim=1)
        if not attends.all():
            raise InterventionError(
                f"after the knockout, position {int(targets[~attends][0])} would have nothing to attend to"
            )
