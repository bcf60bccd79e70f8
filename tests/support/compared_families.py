"""What tests of families share: a model as its hub has it, a prompt, and the comparison with the plain method."""

import functools
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from support.families.all import FAMILIES
from support.families.base import QUESTION
from support.families.llavas import LLAVAS
from vlmflow import load_model
from vlmflow.edges import Edge, EdgeGroup
from vlmflow.engine.plain import plain
from vlmflow.probes.knockout.measure import edge_knockouts

EDGES = ("image -> question", "image -> last", "question -> last", "last -> last")


def measured_families():
    """The families that are measured here: not refused, and with all packages that they need."""
    return {
        name: family
        for name, family in {**FAMILIES, **LLAVAS}.items()
        if not family.refused and not (family.needs and find_spec(family.needs) is None)
    }


@functools.cache
def model(name):
    """The model of a family that is measured; each test process loads it once."""
    with tempfile.TemporaryDirectory() as folder:
        return loaded(measured_families()[name], Path(folder))


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices so small are faster without others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loaded(family, folder):
    """The model as written into the folder, computing in float64."""
    family.build(folder)
    template = str(folder / "mine.jinja") if family.template == "folder" else family.template
    return load_model(folder, device="cpu", dtype="float64", template=template)


def prompt_of(vlm, seed=0):
    torch.manual_seed(seed)
    noise = Image.fromarray(torch.randint(0, 256, (90, 130, 3), dtype=torch.uint8).numpy())
    boxes = {"circle": [(10, 10, 30, 30)]}
    return vlm.prompt(noise, QUESTION, objects=boxes, options=("red", "blue"))


def assert_equal_to_plain(vlm, prompt, tolerance):
    """Under every knockout, the answer's probability and the states are those of the plain method, up to a relative
    difference; the largest one is returned."""
    recording = vlm.record(prompt)
    there = [edge for edge in map(Edge.parse, EDGES) if edge.source in prompt.segments]
    knockouts = [
        knockout
        for edge in there
        for window in (1, 3)
        for _, knockout in edge_knockouts(EdgeGroup((edge,)), prompt, window, len(vlm.layers), recording.recurrent)
    ]
    fast = vlm.replay(recording, knockouts)
    slow = plain(vlm.model, vlm.layers, prompt.inputs, knockouts)
    difference = ((fast - slow).abs().max() / slow.abs().max()).item()
    said = [vlm.logits(states[:, 0]).softmax(-1).amax(dim=-1) for states in (fast, slow)]
    probability = ((said[0] - said[1]).abs() / said[1]).max().item()
    print(
        f"{len(prompt.positions('image'))} image tokens, states {difference:.1e}, probabilities {probability:.1e}"
    )  # pytest -rP
    assert probability <= tolerance
    assert difference <= tolerance
    # The check has teeth: knockouts change the state.
    changed = (slow[:, 0] - recording.output[0, -1]).abs().amax(dim=1) / slow.abs().max()
    assert (changed > 1e-4).float().mean() > 0.5
    return max(difference, probability)
