"""Errors that a model itself raises when it is called: about one prompt, or about the device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vlmflow.errors import ForwardError, VlmflowError

from .batch_size import ran_out

# How libraries below PyTorch report a device that can no longer be used.
BROKEN_DEVICE = ("CUDA error", "HIP error", "CUBLAS_STATUS", "CUDNN_STATUS")


def is_device_failure(error: BaseException) -> bool:
    """Whether an error means that the device can no longer be used."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in BROKEN_DEVICE)


@contextmanager
def naming_the_model(model: nn.Module) -> Iterator[None]:
    """Turn errors of a model's own code inside of the block into errors that name it.

    Raises:
        ForwardError: the model cannot process this prompt. Errors of memory and of the device stay as they are.
    """
    try:
        yield
    except (VlmflowError, MemoryError, OSError):
        raise
    except Exception as error:  # for a prompt that it does not expect, a model may fail anywhere
        if ran_out(error) or is_device_failure(error):
            raise
        raise ForwardError(
            f"{type(model).__name__} cannot process this prompt: {type(error).__name__}: {error}"
        ) from error
