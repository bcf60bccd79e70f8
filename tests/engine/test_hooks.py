"""States at a site of a layer, whichever shape its modules return them in."""

import torch
from torch import nn

from vlmflow.engine.hooks import hook_site


class FlatExperts(nn.Module):
    """A mixture of experts that returns the states of all rows one behind the other, and what its router says."""

    def forward(self, states):
        return 2 * states.flatten(0, 1), None


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = FlatExperts()

    def forward(self, states):
        return self.mlp(states)[0].view(states.shape)


def test_states_that_a_module_returns_without_rows_are_changed_row_by_row():
    layer, states = Layer(), torch.arange(24.0).view(2, 3, 4)

    def change(seen):
        assert seen.shape == (2, 3, 4)
        seen = seen.clone()
        seen[1, 2] = 0
        return seen

    handle = hook_site(layer, "mlp", change)
    expected = 2 * states
    expected[1, 2] = 0
    assert torch.equal(layer(states), expected)
    handle.remove()
    assert torch.equal(layer(states), 2 * states)
