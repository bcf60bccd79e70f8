"""Replay interventions on the part of a recorded forward that they can change.

In a causal decoder, blocking attention *to* some positions, or replacing states at them, changes nothing before the
first of them and nothing below the first layer concerned.  So one ordinary forward is recorded, and each intervention
becomes a row of a batch: it begins at its first layer, with the recorded states of those positions that it can change
and on which the result depends.  The decoder layers are called as they are, with the arguments that the model itself
passed, so that this code depends on no architecture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from .batch_size import AdaptiveBatchSize
from .edits import SiteEdits, batch_edits, edited
from .interventions import Intervention
from .masks import blocked_attention, mask_under
from .plan import Group, plan
from .prefix import CopiedPrefix, Prefix
from .recording import Layers, Recording, pick_positions, states_of

# Rows × suffix tokens of one batch; this limits the memory of states, masks and keys.
TOKENS_PER_BATCH = 4096


@torch.inference_mode()
def replay(
    layers: Layers,
    recording: Recording,
    interventions: Sequence[Intervention],
    *,
    positions: Tensor | None = None,
    batch_size: AdaptiveBatchSize | None = None,
    prefix: Prefix | None = None,
) -> Tensor:
    """States after the last layer under each intervention, (interventions, positions, width), not normed.

    They equal those of a full forward per intervention; see `plain`.

    Args:
        layers: the decoder's.
        recording: of the intact forward.
        interventions: in any order.
        positions: (P) where states are read, counted from 0; the last position alone by default.
        batch_size: rows × suffix tokens that run together; it limits the memory and does not change the result.
        prefix: how rows attend to the positions before their own; by default each to a copy of them.

    Raises:
        InterventionError: an intervention has no positions or layers, or leaves a position nothing to attend to.
    """
    batch_size, prefix = batch_size or AdaptiveBatchSize(TOKENS_PER_BATCH), prefix or CopiedPrefix()
    read = torch.tensor([recording.length - 1]) if positions is None else positions
    # Positions that an intervention cannot change keep their recorded states.
    output = recording.output[:, read.to(recording.output.device)].repeat(len(interventions), 1, 1)
    for group in plan(recording.may_attend, interventions, read, recording.changed):
        replayed = _Replay(layers, recording, interventions, group, prefix)
        changeable = read >= group.start
        done = 0
        while done < len(group.rows):
            most = (len(group.rows) - done) * group.row_size
            rows, states = batch_size.run(partial(replayed.batch, done), most=most, smallest=group.row_size)
            where = torch.tensor(rows)[:, None], changeable.nonzero().flatten()
            output[where] = states[:, read[changeable] - group.start]
            done += len(rows)
    return output


@dataclass(frozen=True)
class _Replay:
    """The replay of one group."""

    layers: Layers
    recording: Recording
    interventions: Sequence[Intervention]
    group: Group
    prefix: Prefix

    def batch(self, done: int, size: int) -> tuple[tuple[int, ...], Tensor]:
        """(the rows after the `done` first ones that fit into a batch of `size`, (rows, end − start, width) states)."""
        rows = self.group.batch(done, size)
        return rows, self._states([self.interventions[number] for number in rows])

    def _states(self, interventions: Sequence[Intervention]) -> Tensor:
        """(interventions, end − start, width) states after the last layer."""
        start, end, output = self.group.start, self.group.end, self.recording.output
        queries, keys = torch.arange(start, end), torch.arange(end)
        blocked = blocked_attention(interventions, queries, keys).to(output.device)
        edits = batch_edits(interventions, start, end, output.shape[2], output.device)
        stops = torch.tensor([intervention.stop for intervention in interventions], device=output.device)
        hidden = output.new_empty(0, end - start, output.shape[2])
        for number in range(interventions[0].start, len(self.layers)):
            joining = sum(intervention.start == number for intervention in interventions)
            if joining:
                joined = self.recording.calls[number].hidden[:, start:end].expand(joining, -1, -1)
                hidden = torch.cat([hidden.to(joined.device), joined])
            hidden = self._call_layer(number, hidden, blocked, edits, stops[: len(hidden)] > number)
        return hidden.to(output.device)

    def _call_layer(
        self, number: int, hidden: Tensor, blocked: Tensor, edits: Sequence[SiteEdits], active: Tensor
    ) -> Tensor:
        """The states (rows, end − start, width) after a layer, of the first rows of a batch.

        Args:
            number: of the layer.
            hidden: the states before it.
            blocked: of the whole batch, (interventions, end − start, end).
            edits: of the whole batch.
            active: (rows) True for those whose intervention changes this layer.
        """
        layer, call = self.layers[number], self.recording.calls[number]
        start, end = self.group.start, self.group.end
        may_attend = self.recording.may_attend.layer(number)[start:end, :end]
        mask = mask_under(blocked[: len(hidden)], active, may_attend)
        arguments = _arguments(call.arguments, self.recording.length, start, end)
        arguments["attention_mask"] = self.prefix.mask(mask, call, hidden.dtype)
        for name, value in arguments.items():
            if isinstance(value, Cache):
                arguments[name] = self.prefix.cache(call, start)
        with self.prefix.context(layer, call, start), edited(layer, edits, active):
            return states_of(layer(hidden, **arguments))


def _arguments(arguments: dict[str, Any], length: int, start: int, end: int) -> dict[str, Any]:
    """A layer's arguments for the positions from `start` up to and without `end`; without its mask."""
    kept = {name: value for name, value in arguments.items() if name != "attention_mask"}
    return pick_positions(kept, length, torch.arange(start, end))
