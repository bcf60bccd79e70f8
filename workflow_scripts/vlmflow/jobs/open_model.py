"""Open the model of a job on the devices that the job leases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from vlmflow.models.hub import model_folder
from vlmflow.models.load import load_language_model, load_model
from vlmflow.models.vision_language import LanguageModel

from .gpu_lease import lease_until_exit


@contextmanager
def open_model(settings: dict[str, Any], gpus: int, threads: int) -> Iterator[LanguageModel]:
    """The model of a job, with the settings that its rule passes: on the GPUs that it leases, or on the CPU."""
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()  # the bar of loading weights would be one long line in a log
    path = model_folder(settings["path"], settings["fetched"])
    # Data stay on a card until the process ends, so the lease is held as long.
    device = lease_until_exit(gpus)
    shared = {"device": device, "dtype": settings["dtype"], "template": settings["template"]}
    if settings["reads"] == "captions":
        yield load_language_model(path, **shared)
    else:
        yield load_model(path, **shared, fit=settings["fit"])
