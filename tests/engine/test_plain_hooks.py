"""Replay against the methods of others, as benchmarks/others.py compares them."""

import ast
import json
import sys

import pytest
import torch

from support.paths import ROOT, TINY_LLAVA
from vlmflow import load_model

# Method → full forwards per question.
FORWARDS = {
    "six edges": 61,
    "two edges in each head": 81,
    "each head, at the last position": 41,
    "patching of three segments": 32,
    "only some edges, 13 sets": 14,
    "logit attribution": 1,
}


@pytest.fixture(scope="module")
def benchmarks():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import others
    import plain_hooks

    yield others, plain_hooks
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def compared(benchmarks):
    """(the demo's model in float64, a question about a scene and about another one)."""
    vlm = load_model(TINY_LLAVA, device="cpu", dtype="float64")
    return vlm, next(benchmarks[0].scene_questions_of(vlm))


@pytest.mark.parametrize("name", FORWARDS)
def test_replay_computes_what_the_hooks_do(benchmarks, compared, name):
    others, _ = benchmarks
    methods = others.methods(window=3)
    assert methods.keys() == FORWARDS.keys()
    found = others.numbers(methods[name], *compared, step=3)
    assert found["difference"] < 1e-9
    assert found["effect"] > 1e-3  # a million times as much
    assert found["forwards"] == pytest.approx(FORWARDS[name])
    if FORWARDS[name] == 1:  # the same forward in both ways
        assert found["forwards_done"] == found["replay_forwards"] == pytest.approx(1)
        return
    assert found["forwards_done"] < FORWARDS[name] / 2
    assert found["replay_forwards"] < FORWARDS[name] / 3


def test_states_of_the_donor_bring_its_answer(benchmarks, compared):
    """The image alone differs: all of it at the first layer is the donor's forward, and nothing else there is other."""
    _, plain_hooks = benchmarks
    vlm, question = compared
    hooked = plain_hooks.HookedLlava(vlm.model)
    answering, donor = hooked.residual_stream(question.prompt.inputs)
    intact = hooked.logits(question.other.inputs)
    assert answering.argmax() != intact.argmax()
    expected = {"image": answering, "question": intact, "last": intact}
    for segment, logits in expected.items():
        patched = hooked.with_states(question.other.inputs, 0, question.prompt.positions(segment), donor[0])
        torch.testing.assert_close(patched, logits, rtol=1e-9, atol=1e-11)


def test_hooks_are_removed_and_reach_their_own_layers_alone(benchmarks, compared):
    _, plain_hooks = benchmarks
    vlm, question = compared
    hooked, inputs = plain_hooks.HookedLlava(vlm.model), question.prompt.inputs
    intact, last = hooked.logits(inputs), question.prompt.positions("last")
    sources = question.prompt.positions("question")
    masks = []
    handles = [
        layer.self_attn.register_forward_pre_hook(
            lambda _, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
        )
        for layer in hooked.layers
    ]
    assert not torch.allclose(hooked.without_edge(inputs, sources, last, plain_hooks.window(1, 5, 10), head=2), intact)
    for handle in handles:
        handle.remove()
    assert [mask is not None for mask in masks] == [True] * 4 + [False] * 6
    causal = torch.ones(len(question.prompt), len(question.prompt), dtype=torch.bool).tril()
    without = causal.clone()
    without[last[:, None], sources] = False
    assert torch.equal(masks[0][0] == 0, torch.stack([causal, causal, without, causal]))
    torch.testing.assert_close(hooked.logits(inputs), intact, rtol=0, atol=0)


def test_the_hooks_know_nothing_of_the_engine():
    tree = ast.parse((ROOT / "benchmarks" / "plain_hooks.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    assert {name.split(".")[0] for name in imported} == {"collections", "functools", "itertools", "torch"}


def test_seconds_of_a_share_are_scaled_to_all_forwards(benchmarks, monkeypatch, capsys):
    others, _ = benchmarks
    monkeypatch.setattr(others, "timed", lambda runs, repeats, device: [float(repeats), 0.5])
    threads = torch.get_num_threads()
    others.main([*"--questions 1 --plain-share 0.05 --repeats 2 --json --threads".split(), str(threads)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Every twentieth of 60, 80, 40, 30 and 13 changed forwards, and the unchanged ones: one, with a donor two.
    done = dict(zip(FORWARDS, (4, 5, 3, 4, 2, 1), strict=True))
    for row in rows:
        assert row["forwards"] == FORWARDS[row["method"]]
        assert row["hooks_s"] == pytest.approx(2 * row["forwards"] / done[row["method"]], abs=1e-3)
        assert row["times_faster"] == pytest.approx(2 * row["hooks_s"], abs=0.06)
    assert [row["method"] for row in rows] == list(FORWARDS)


def test_numbers_that_differ_stop_the_benchmark(benchmarks, monkeypatch):
    others, plain_hooks = benchmarks
    monkeypatch.setattr(others, "timed", lambda runs, repeats, device: [1.0, 1.0])
    monkeypatch.setattr(plain_hooks, "window", lambda layer, size, layers: range(layer + 1))
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit, match="six edges: the numbers differ by"):
        others.main([*"--questions 1 --plain-share 0.2 --threads".split(), str(threads)])
