"""Replace states in a batch in which each row has the edits of another intervention; one hook per site."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from .hooks import hook_site, removed_after
from .interventions import Intervention, Site
from .masks import check_heads


@dataclass(frozen=True)
class RowEdit:
    """The replacement of states in one row of a batch, in the layers `start` … `stop` − 1.

    Attributes:
        site: the site in a layer.
        row: its number in the batch.
        columns: (P) which of the row's positions.
        states: (P, width), or (P, H, head width) at the site `head`; None for zeros.
        heads: (H) at the site `head`.
    """

    site: Site
    row: int
    start: int
    stop: int
    columns: Tensor
    states: Tensor | None
    heads: Tensor | None

    def apply(self, states: Tensor) -> None:
        """Replace states (rows, S, width), or (rows, S, heads, head width) at the site `head`, in place."""
        value = 0 if self.states is None else self.states.to(states)
        if self.heads is None:
            states[self.row, self.columns] = value
            return
        check_heads(self.heads, states.shape[2])
        states[self.row, self.columns[:, None], self.heads] = value


def batch_edits(interventions: Sequence[Intervention], start: int, end: int, device: torch.device) -> list[RowEdit]:
    """The edits of a batch.

    Args:
        interventions: one per row.
        start, end: the positions that rows have, from `start` up to and without `end`.
        device: the device on which the batch is computed.
    """
    placed = []
    for row, intervention in enumerate(interventions):
        for part in intervention.parts:
            for edit in part.edits():
                inside = (edit.positions >= start) & (edit.positions < end)
                columns = (edit.positions[inside] - start).to(device)
                states = None if edit.states is None else edit.states[inside.to(edit.states.device)].to(device)
                heads = None if edit.heads is None else edit.heads.to(device)
                placed.append(RowEdit(edit.site, row, part.start, part.stop, columns, states, heads))
    return placed


def behind(edits: Sequence[RowEdit], more: int) -> list[RowEdit]:
    """The same edits where `more` other positions come before those of the rows."""
    return [replace(each, columns=each.columns + more) for each in edits]


@contextmanager
def edited(layer: nn.Module, number: int, edits: Sequence[RowEdit]) -> Iterator[None]:
    """In the block, the states of the layer with this number are replaced."""
    active = [each for each in edits if each.start <= number < each.stop]
    sites = dict.fromkeys(each.site for each in active)
    by_site = {site: [each for each in active if each.site == site] for site in sites}
    with removed_after(hook_site(layer, site, partial(_replaced, own)) for site, own in by_site.items()):
        yield


def _replaced(edits: Sequence[RowEdit], states: Tensor) -> Tensor:
    states = states.clone()
    for each in edits:
        each.apply(states)
    return states
