"""Settings of the tests, and the fixtures that they share."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

from support.frames import attention, budget, knees, lens, looks, phases, similarity  # noqa: F401
from support.paths import TINY_LLAVA
from support.rows import context, rows, vlm  # noqa: F401 (fixtures of several files)
from support.servers import server  # noqa: F401
from support.slurm import cluster  # noqa: F401
from vlmflow import load_model
from vlmflow.data import scenes

# The same examples in every run, and no deadline: the machines of others are slower or busier.
settings.register_profile(
    "vlmflow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("vlmflow")
# Two processes of tests have a core each.
torch.set_num_threads(1 if os.environ.get("PYTEST_XDIST_WORKER") else 2)


@pytest.fixture(scope="session")
def tiny_llava():
    return load_model(TINY_LLAVA, device="cpu")


@pytest.fixture(scope="session")
def scene():
    """A drawn scene with its picture."""
    scene = scenes.draw_scene(6, seed=0)
    return scene, scenes.render(scene)
