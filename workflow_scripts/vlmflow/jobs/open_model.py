"""Open the model of a job on the devices that the job leases."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vlmflow.models.hub import model_folder

from .gpu_lease import lease_until_exit

if TYPE_CHECKING:  # a job that finds everything in the store needs no torch
    from vlmflow.models.vision_language import LanguageModel


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
