"""Which interventions are replayed together, over which positions: without any model."""

import pytest
import torch
from PIL import Image

from support.paths import random_llava
from vlmflow.engine.interventions import AttentionKnockout, HeadAblation, StatePatch, Together, ZeroAblation
from vlmflow.engine.masks import Masks
from vlmflow.engine.plan import PREFIX_TOKENS_PER_TOKEN, Group, plan
from vlmflow.errors import InterventionError

LENGTH, LAYERS = 12, 4
LAST = torch.tensor([LENGTH - 1])


def causal(layers=LAYERS):
    return Masks((torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(),), (0,) * layers)


def knockout(targets, start=0, stop=1, sources=(0,)):
    return AttentionKnockout(torch.tensor(sources), torch.tensor(targets), start, stop)


def test_what_changes_the_same_suffix_is_one_group():
    interventions = [
        knockout([5, 9]),
        ZeroAblation("mlp", torch.tensor([7]), 0, 2),
        StatePatch(torch.tensor([9, 5]), torch.zeros(2, 3), 1),
        knockout([7]),
    ]
    groups = plan(causal(), interventions, LAST)
    assert groups == [Group(5, LENGTH, (0, 2)), Group(7, LENGTH, (1, 3))]


def test_rows_are_in_the_order_in_which_they_join():
    interventions = [knockout([5], start=layer, stop=layer + 1) for layer in (3, 0, 2, 0)]
    (group,) = plan(causal(), interventions, LAST)
    assert group.rows == (1, 3, 2, 0)


def test_only_what_is_read_and_what_it_needs_is_computed():
    interventions = [knockout([3]), knockout([6])]
    assert plan(causal(), interventions, torch.tensor([2, 4])) == [Group(3, 5, (0,))]
    assert plan(causal(), interventions, torch.tensor([1])) == []
    assert plan(causal(), [], LAST) == []


def test_positions_that_see_each_other_change_together():
    matrix = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    matrix[2:6, 2:6] = True
    masks = Masks((causal().matrices[0], matrix), (0, 1, 0, 1))
    assert plan(masks, [knockout([4])], torch.tensor([3])) == [Group(2, 6, (0,))]
    assert plan(masks, [knockout([7])], LAST) == [Group(7, LENGTH, (0,))]
    assert masks.attend_ahead(4)
    assert not masks.attend_ahead(6)


def test_batches_hold_as_many_rows_as_fit_and_at_least_one():
    group = Group(8, 10, tuple(range(5)))
    assert group.row_size == 2
    assert [group.batch(done, 4) for done in (0, 2, 4)] == [(0, 1), (2, 3), (4,)]
    assert group.batch(3, 1) == (3,)
    long = Group(1000 * PREFIX_TOKENS_PER_TOKEN - 1, 1000 * PREFIX_TOKENS_PER_TOKEN, (0,))
    assert long.row_size == 1000, "masks and keys of the prefix count too"


@pytest.mark.parametrize(
    ("intervention", "message"),
    [
        (knockout([4], sources=()), "at least one source"),
        (ZeroAblation("mlp", torch.tensor([], dtype=torch.long), 0, 1), "at least one source"),
        (knockout([4], 1, 1), "the model has 0 to 3"),
        (StatePatch(torch.tensor([4]), torch.zeros(1, 3), 4), "layers 4 to 4: the model has 0 to 3"),
        (knockout([4], sources=(5,)), "nothing to knock out"),
        (knockout([0]), "position 0 would have nothing to attend to"),
    ],
)
def test_interventions_without_meaning_are_refused(intervention, message):
    with pytest.raises(InterventionError, match=message):
        plan(causal(), [intervention], LAST)


def test_interventions_on_states_that_the_model_changes_are_refused():
    changed = torch.zeros(LENGTH, dtype=torch.bool)
    changed[6] = True
    assert plan(causal(), [knockout([7])], LAST, changed) == [Group(7, LENGTH, (0,))]
    with pytest.raises(InterventionError, match="changes states between its layers"):
        plan(causal(), [knockout([5])], LAST, changed)


def test_a_mask_is_read_once():
    boolean = causal().matrices[0][None, None]
    added = torch.zeros(1, 1, LENGTH, LENGTH).masked_fill(~boolean, torch.finfo(torch.float32).min)
    masks = Masks.read([boolean, added, None, boolean], LENGTH, torch.device("cpu"))
    assert masks.of_layer == (0, 1, 2, 0)
    assert all(torch.equal(matrix, boolean[0, 0]) for matrix in masks.matrices)
    assert masks.length == LENGTH


def test_parts_of_one_intervention_are_checked_together():
    """Each leaves something to attend to; in the layer that both share, and in a head that both block, they do not."""
    first, second = (knockout([5], 0, 2, sources) for sources in ((0, 1, 2), (3, 4, 5)))
    apart = knockout([5], 2, 3, (3, 4, 5))
    assert plan(causal(), [Together([first, apart])], LAST) == [Group(5, LENGTH, (0,))]
    with pytest.raises(InterventionError, match="position 5 would have nothing to attend to"):
        plan(causal(), [Together([first, second])], LAST)

    def in_heads(part, *heads):
        return AttentionKnockout(part.sources, part.targets, part.start, part.stop, torch.tensor(heads))

    assert plan(causal(), [Together([in_heads(first, 0), in_heads(second, 1, 2)])], LAST)
    for one, other in (((0, 1), (1, 2)), ((1,), None), (None, (1,))):
        parts = [part if heads is None else in_heads(part, *heads) for part, heads in ((first, one), (second, other))]
        with pytest.raises(InterventionError, match="position 5 would have nothing to attend to"):
            plan(causal(), [Together(parts)], LAST)


def test_parts_with_other_targets_are_checked_at_all_of_them():
    """The two block different positions, and together all that position 5 attends to."""
    parts = [knockout([5, 6], 0, 2, (0, 1, 2)), knockout([5, 9], 0, 2, (3, 4, 5))]
    with pytest.raises(InterventionError, match="position 5 would have nothing to attend to"):
        plan(causal(), [Together(parts)], LAST)
    assert plan(causal(), [Together([parts[0], knockout([9], 0, 2, (3, 4, 5))])], LAST)


def test_a_combination_begins_with_its_first_part():
    together = Together([knockout([9], 2, 3), ZeroAblation("mlp", torch.tensor([7]), 1, 4)])
    assert (together.start, together.stop) == (1, 4)
    assert plan(causal(), [together], LAST) == [Group(7, LENGTH, (0,))]
    with pytest.raises(InterventionError, match="at least one part"):
        plan(causal(), [Together([])], LAST)


def test_heads_that_there_are_not():
    vlm = random_llava(2)
    prompt = vlm.prompt(Image.new("RGB", (8, 8)), "what color is the circle ?")
    recording, last = vlm.record(prompt), prompt.positions("last")
    for heads in ([2], [-1]):
        named = torch.tensor(heads)
        for each in (AttentionKnockout(last, last, 0, 1, named), HeadAblation(named, last, 0, 1)):
            with pytest.raises(InterventionError, match="a layer has 0 to 1"):
                vlm.replay(recording, [each])
