"""Replace states in a batch in which each row has the edits of another intervention; one hook per site."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .hooks import hook_site, removed_after
from .interventions import SITES, Edit, Intervention, Site


@dataclass(frozen=True)
class SiteEdits:
    """The replacement of states at one site, for all rows of a batch.

    Attributes:
        site: the site in a layer.
        where: (rows, S) True where a row's states are replaced.
        states: (rows, S, width) the new states; None if all of them are zeros.
    """

    site: Site
    where: Tensor
    states: Tensor | None

    def replace(self, active: Tensor, states: Tensor) -> Tensor:
        """The states (rows, S, width) of the first rows of the batch, replaced in those that are `active` (rows)."""
        rows = len(active)
        where = (self.where[:rows] & active[:, None])[..., None].to(states.device)
        if self.states is None:
            return states.masked_fill(where, 0)
        return torch.where(where, self.states[:rows].to(states.device, states.dtype), states)

    def behind(self, more: int) -> "SiteEdits":
        """The same edits where `more` other positions come before those of the rows."""
        if not more:
            return self
        states = None if self.states is None else pad(self.states, (0, 0, more, 0))
        return SiteEdits(self.site, pad(self.where, (more, 0)), states)


def batch_edits(
    interventions: Sequence[Intervention], start: int, end: int, width: int, device: torch.device
) -> list[SiteEdits]:
    """The edits of a batch, for every site that has any.

    Args:
        interventions: one per row.
        start, end: the positions that rows have, from `start` up to and without `end`.
        width: of states.
        device: the device on which the batch is computed.
    """
    by_site: dict[Site, list[tuple[int, Edit]]] = {site: [] for site in SITES}
    for row, intervention in enumerate(interventions):
        for edit in intervention.edits():
            by_site[edit.site].append((row, edit))
    replacements = []
    for site, edits in by_site.items():
        if not edits:
            continue
        where = torch.zeros(len(interventions), end - start, dtype=torch.bool)
        new_states = [edit.states for _, edit in edits if edit.states is not None]
        states = torch.zeros(*where.shape, width, dtype=new_states[0].dtype, device=device) if new_states else None
        for row, edit in edits:
            inside = (edit.positions >= start) & (edit.positions < end)
            columns = edit.positions[inside] - start
            where[row, columns] = True
            if states is not None and edit.states is not None:
                states[row, columns.to(device)] = edit.states.to(states)[inside.to(device)]
        replacements.append(SiteEdits(site, where.to(device), states))
    return replacements


@contextmanager
def edited(layer: nn.Module, edits: Sequence[SiteEdits], active: Tensor) -> Iterator[None]:
    """In the block, the layer's states are replaced in the rows that are `active`."""
    with removed_after(hook_site(layer, each.site, partial(each.replace, active)) for each in edits):
        yield
