"""Replay interventions on the part of a recorded forward that they can change.

In a causal decoder, blocking attention *to* some positions, or replacing states at them, changes nothing before the
first of them and nothing below the first layer concerned.  So one ordinary forward is recorded, and each intervention
becomes a row of a batch: it begins at its first layer, with the recorded states of those positions that it can change
and on which the result depends.  The decoder layers are called as they are, with the arguments that the model itself
passed, so that this code depends on no architecture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from .batch_size import AdaptiveBatchSize
from .edits import batch_edits, behind, edited
from .interventions import Intervention
from .masks import blocked_attention
from .modules import attention_layer, head_count
from .plan import Group, plan
from .prefix import CopiedPrefix, Prefix
from .recording import Layers, Recording, arguments_at, states_of
from .recurrent import CarriedStates
from .shared_keys import SharedKeys

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

    @cached_property
    def carried(self) -> CarriedStates:
        """What layers without attention carry into the group's first position."""
        return CarriedStates(self.group.start, self.group.end)

    def heads(self) -> int:
        """The number of heads of the layers with attention."""
        return head_count(attention_layer(self.layers))

    def batch(self, done: int, size: int) -> tuple[tuple[int, ...], Tensor]:
        """(the rows after the `done` first ones that fit into a batch of `size`, (rows, end − start, width) states)."""
        rows = self.group.batch(done, size)
        return rows, _Batch(self, [self.interventions[number] for number in rows]).states()


class _Batch:
    """The replay of some rows of a group."""

    def __init__(self, replay: _Replay, interventions: Sequence[Intervention]) -> None:
        """Prepare the masks and edits of the rows, whose interventions are in the order of their first layers."""
        self.replay, self.interventions = replay, interventions
        start, end, output = replay.group.start, replay.group.end, replay.recording.output
        self.start, self.end = start, end
        queries, keys = torch.arange(start, end), torch.arange(end)
        self.blocked = blocked_attention(interventions, queries, keys, replay.heads, output.device)
        self.edits = batch_edits(interventions, start, end, output.device)
        self.shared = SharedKeys()

    def states(self) -> Tensor:
        """(interventions, end − start, width) states after the last layer."""
        recording = self.replay.recording
        hidden = recording.output.new_empty(0, self.end - self.start, recording.output.shape[2])
        for number in range(self.interventions[0].start, len(self.replay.layers)):
            joining = sum(intervention.start == number for intervention in self.interventions)
            if joining:
                joined = recording.calls[number].hidden[:, self.start : self.end].expand(joining, -1, -1)
                hidden = torch.cat([hidden.to(joined.device), joined])
            recurrent = recording.calls[number].is_recurrent
            hidden = self._carry(number, hidden) if recurrent else self._attend(number, hidden)
        return hidden.to(recording.output.device)

    def _attend(self, number: int, hidden: Tensor) -> Tensor:
        """The states (rows, end − start, width) after a layer with attention, of the first rows of the batch.

        Args:
            number: of the layer.
            hidden: the states before it.
        """
        layer, call = self.replay.layers[number], self.replay.recording.calls[number]
        start, end, prefix, rows = self.start, self.end, self.replay.prefix, len(hidden)
        may_attend = self.replay.recording.may_attend.layer(number)[start:end, :end]
        mask = self.blocked.mask(number, rows, may_attend)
        arguments = arguments_at(call, torch.arange(start, end), prefix.cache(call, start))
        arguments["attention_mask"] = prefix.mask(mask, call, hidden.dtype)
        arguments = self.shared.arguments(arguments)
        if call.takes_keys:
            self.shared.complete(layer, prefix.returned(call, start, end), rows)
        with prefix.context(layer, call, start), edited(layer, number, self.edits):
            return states_of(layer(hidden, **arguments))

    def _carry(self, number: int, hidden: Tensor) -> Tensor:
        """The same after a layer without attention."""
        layer, call = self.replay.layers[number], self.replay.recording.calls[number]
        carried = self.replay.carried
        before = self.start - carried.aligned
        states, arguments = carried.inputs(layer, call, number, hidden)
        with edited(layer, number, behind(self.edits, before)):
            return states_of(layer(states, **arguments))[:, before:]
