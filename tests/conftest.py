"""Settings of the tests, and the fixtures that they share."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read at their import: libraries whose threads wait for each other take several times as long beside other tests.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")

import gc

import pytest
import torch
from hypothesis import HealthCheck, settings

from support.paths import TINY_LLAVA
from vlmflow import load_model
from vlmflow.data import scenes

# Where fixtures of several files are defined.
pytest_plugins = [
    "support.browser",
    "support.frames",
    "support.image_frames",
    "support.paper_rows",
    "support.rows",
    "support.scene_files",
    "support.servers",
    "support.slurm",
]

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
    """A drawn scene with its image."""
    scene = scenes.draw_scene(6, seed=0)
    return scene, scenes.render(scene)


@pytest.fixture(scope="module")
def frozen_heap():
    """Each time that memory runs out, garbage is collected: not among all that other tests left."""
    gc.freeze()
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


# Files that take longest, the longest first: begun last, one of them would keep a process busy when the other is idle.
LONG_FILES = (
    *("test_slurm.py", "test_killed.py", "test_flow_study.py", "test_appendix_study.py", "test_phase_study.py"),
    *("test_store.py", "test_winoground_fetch.py"),
    *("test_workflow.py", "test_hub.py", "test_tiny_llava.py", "test_rules.py", "test_phases.py", "test_folders.py"),
    *("test_files_and_captions.py", "test_extending.py", "test_run_messages.py"),
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish():
    """All that the libraries hold stays to the end: garbage is not looked for among it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
