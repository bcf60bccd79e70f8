"""What jobs are expected to cost: the work against what the engine really computes, time and memory in proportion."""

import json

import pytest
import torch
import yaml

from support.paths import ROOT, TINY_LLAVA
from support.rows import shown
from vlmflow.jobs import estimates
from vlmflow.models.size import LARGE, Size, folder_size
from vlmflow.probes import cost
from vlmflow.probes.run import ProbeRun
from vlmflow.study import Study, read_study

B7 = Size(parameters=7_060_000_000, layers=32, width=4096, vocabulary=32_064, image_tokens=576)
STUDIES = ["flow", "flow-appendix", "phase", "thesis", "causal", "demo-appendix", "demo-phase", "demo-causal"]


def study(name):
    path = ROOT / "studies" / f"{name}.yaml"
    return read_study(yaml.safe_load(path.read_text()), path.name)


def probes(*names):
    return [(name, probe) for name in names for probe in study(name).probes.values()]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("knockout", {"edges": ["question -> last", "image -> last", "image -> question", "image -> template"]}),
        ("knockout", {"edges": ["image -> question"], "window": [1, 3]}),
        ("words", {"modules": ["attention", "mlp"], "edges": ["image -> question"], "window": 3}),
        ("attention", {}),
        ("similarity", {"prompts": {"own": "{question}", "other": "{question} now"}}),
        ("output-lens", {"prompts": {"own": "{question}", "other": "{question} now"}}),
        ("output-lens", {"segments": ["template", "last"]}),
        ("states", {"segments": ["image", "last"], "tokens": "all"}),
        ("budget", {"prompts": {"own": "{question}"}}),
        ("visual-lens", {}),
        ("occlusion", {"grid": 3}),
    ],
)
def test_work_is_what_the_engine_computes(monkeypatch, random_vlm, noise_questions, kind, settings):
    """Within a factor of three, counted in token-layers; a share of them where states are read or weights weighed."""
    values = {"window": 3} | settings if kind == "knockout" else settings
    probe = Study.model_validate(
        yaml.safe_load((ROOT / "config.yaml").read_text())
        | {"probes": {"it": {"kind": kind} | values}, "figures": {}, "claims": {}}
    ).probes["it"]
    prompt = shown(random_vlm, noise_questions[0])
    # The prompt's own lengths, in place of a usual one's.
    image, question = len(prompt.positions("image")), len(prompt.positions("question"))
    monkeypatch.setattr(cost, "QUESTION", question)
    monkeypatch.setattr(cost, "TEMPLATE", len(prompt) - image - question)
    monkeypatch.setattr(cost, "ENCODER", 0)
    size = Size(10**6, len(random_vlm.layers), 16, random_vlm.unembedding.out_features, image)
    counted = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: counted.append(inputs[0].shape[0] * inputs[0].shape[1]))
        for layer in random_vlm.layers
    ]
    run = ProbeRun(random_vlm, probe, "it", questions=noise_questions)
    for row in noise_questions:
        run.measure(row)
    for hook in hooks:
        hook.remove()
    forwards = sum(counted) / len(random_vlm.layers) / len(prompt) / len(noise_questions)
    expected = probe.cost(size, questions=len(noise_questions))
    assert forwards / 3 <= expected.forwards <= 4 * forwards
    assert len(counted) / len(random_vlm.layers) / len(noise_questions) / 3 <= expected.passes


@pytest.mark.parametrize("name", STUDIES)
def test_every_probe_of_every_study_has_a_cost(name):
    for probe in study(name).probes.values():
        for size in (folder_size(ROOT / TINY_LLAVA), B7, LARGE):
            work = probe.cost(size, 1000)
            assert work.forwards > 0
            assert work.passes > 0
            expected = estimates.seconds(work, size, 1000, gpu=size is not B7)
            assert estimates.minutes(expected) >= 10


def test_costs_grow_with_the_work():
    flow = study("flow").probes["flow"]
    wider = flow.model_copy(update={"window": [*flow.window, *flow.window]})
    half = flow.model_copy(update={"edges": flow.edges[:3]})
    work = flow.cost(B7, 1000)
    assert wider.cost(B7, 1000).forwards > work.forwards > half.cost(B7, 1000).forwards
    base = estimates.seconds(work, B7, 1000, gpu=True)
    assert estimates.seconds(work, B7, 2000, gpu=True) == pytest.approx(2 * base, rel=0.15)  # but for the start
    assert estimates.seconds(work, B7, 1000, gpu=False) > 50 * base
    larger = Size(13_000_000_000, 40, 5120, 32_064, 2880)
    assert estimates.seconds(flow.cost(larger, 1000), larger, 1000, gpu=True) > 3 * base


def test_every_attempt_requests_more():
    assert [estimates.minutes(3600, attempt) for attempt in (1, 2, 3)] == [180, 360, 540]
    assert estimates.minutes(1) == estimates.LEAST_MINUTES
    first, second = (estimates.megabytes(B7, "float16", gpu=True, attempt=attempt) for attempt in (1, 2))
    assert second == 2 * first
    # The weights pass through; on the CPU there is the rest as well, and wider where it is wider.
    assert (
        14_000 < first < estimates.megabytes(B7, "float16", gpu=False) < estimates.megabytes(B7, "float32", gpu=False)
    )


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"vision_config": {"image_size": 336, "patch_size": 14}}, 576),
        (
            {"vision_config": {"image_size": 336, "patch_size": 14}, "image_grid_pinpoints": [[336, 672], [672, 672]]},
            2880,
        ),
        ({"vision_config": {"image_size": 224, "patch_size": 14}, "num_query_tokens": 32}, 32),
        ({"vision_config": {"image_size": 896, "patch_size": 14}, "mm_tokens_per_image": 256}, 256),
        ({"vision_config": {"image_size": 512, "patch_size": 16}, "scale_factor": 4}, 64),
        ({"vision_config": {"image_size": [448, 448], "patch_size": [14, 14]}}, 1024),
        ({"vision_config": {"patch_size": 14}, "image_seq_length": 256}, 256),
        ({"vision_config": {"image_size": 8, "patch_size": 0}}, LARGE.image_tokens),
        ({"vision_config": {"patch_size": 14}}, LARGE.image_tokens),
        ({}, 0),
    ],
)
def test_tokens_of_an_image_are_known_from_the_configuration(config, tokens):
    assert Size.of(config, 10**9).image_tokens == tokens


def test_the_size_of_a_model_is_read_from_its_folder():
    size = folder_size(ROOT / TINY_LLAVA)
    config = json.loads((ROOT / TINY_LLAVA / "config.json").read_text())["text_config"]
    assert (size.layers, size.width, size.vocabulary) == (
        config["num_hidden_layers"],
        config["hidden_size"],
        config["vocab_size"],
    )
    assert size.parameters == pytest.approx(2_400_000, rel=0.02)
    assert size.image_tokens == 36
    assert Size(**size.saved()) == size


def test_memory_holds_what_a_model_on_the_cpu_needs(tiny_llava):
    """Weights as they are, in bytes."""
    weights = sum(parameter.nbytes for parameter in tiny_llava.model.parameters())
    size = folder_size(ROOT / TINY_LLAVA)
    assert size.parameters * torch.float32.itemsize == pytest.approx(weights, rel=0.02)
    assert estimates.megabytes(size, "float32", gpu=False) > estimates.LIBRARIES + weights / 1e6
