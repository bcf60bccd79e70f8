"""Open the model of a job on the devices that the job leases."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmflow.models.hub import model_folder
from vlmflow.models.hub_cache import find_snapshot

from .gpu_lease import lease_until_exit

if TYPE_CHECKING:  # a job that finds everything in the store needs no torch
    from vlmflow.models.vision_language import LanguageModel


# The packages on which the numbers of a measurement may depend.
PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "pillow")


def versions_text() -> str:
    """The versions of Python and of the packages that run a model."""
    found = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *found])


def fetched_commit(fetched: str | None) -> str | None:
    """The commit of the hub's repository to which a model was fetched: a snapshot's folder has its name.

    Args:
        fetched: for a hub id, the file that holds the result of `fetch_model`.
    """
    return None if fetched is None else find_snapshot(Path(fetched))[0].name


@contextmanager
def open_model(settings: Mapping[str, Any], gpus: int, threads: int) -> Iterator["LanguageModel"]:
    """The model of a job, on the GPUs that it leases, or on the CPU.

    Args:
        settings: as the rule passes them.
        gpus, threads: their numbers.
    """
    import torch
    import transformers

    from vlmflow.models.load import load_language_model, load_model
    from vlmflow.prompts.layouts.patch_maps import PatchMaps

    from .patch_maps import StoredPatchMaps

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()  # the bar of loading weights would be one long line in a log
    path = model_folder(settings["path"], settings["fetched"])
    # Data stay on a card until the process ends, so the lease is held as long.
    device = lease_until_exit(gpus)
    shared = {"device": device, "dtype": settings["dtype"], "template": settings["template"]}
    if settings["reads"] == "captions":
        yield load_language_model(path, **shared)
    else:
        vlm = load_model(path, **shared, fit=settings["fit"])
        with StoredPatchMaps(settings, vlm.measure_patch_map) as stored:
            vlm.patch_maps = PatchMaps(vlm.processor, stored.measure)
            yield vlm
