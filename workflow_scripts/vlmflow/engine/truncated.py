"""A model without the picture's tokens in its last layers: the real thing, which computes less; [flow] appendix F."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .interventions import removed_after
from .record import Layers
from .replay import pick_positions


@contextmanager
def pruned(layers: Layers, dropped: Tensor, last: int) -> Iterator[None]:
    """In the `last` layers, the decoder goes on without the positions `dropped` of the prompt, when it reads the prompt
    and when it decodes after it; the other positions keep their places.  Keys and values have to be kept in a plain
    cache: one with sliding windows throws others away than the tokens that are dropped.

    Raises:
        ValueError: there are not so many layers, or all of them are asked for; then leave the tokens out of the prompt.
    """
    if not 0 <= last < len(layers):
        raise ValueError(
            f"last {last}: tokens can be dropped in the last 0 to {len(layers) - 1} of {len(layers)} layers"
        )
    first = len(layers) - last
    length = 0

    def before(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        nonlocal length
        hidden, *rest = args
        if hidden.shape[1] > 1:  # it reads the prompt
            if layer is layers[first]:
                length = hidden.shape[1]
                hidden = hidden.index_select(1, _kept(length, dropped).to(hidden.device))
            kept = _kept(length, dropped)
            mask = kwargs.get("attention_mask")
            kwargs = {n: pick_positions(v, length, kept) for n, v in kwargs.items() if n != "attention_mask"}
            kwargs["attention_mask"] = (
                None if mask is None else _columns(mask, kept).index_select(2, kept.to(mask.device))
            )
        elif (mask := kwargs.get("attention_mask")) is not None:
            kwargs = kwargs | {"attention_mask": _columns(mask, _kept(mask.shape[3], dropped))}
        return (hidden, *rest), kwargs

    with removed_after(layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers[first:]):
        yield


def _kept(length: int, dropped: Tensor) -> Tensor:
    flags = torch.ones(length, dtype=torch.bool)
    flags[dropped] = False
    return flags.nonzero().flatten()


def _columns(mask: Tensor, kept: Tensor) -> Tensor:
    return mask.index_select(3, kept.to(mask.device))


def work_share(length: int, dropped: int, layers: int, last: int) -> float:
    """Token-layers of reading a prompt of `length` positions without `dropped` of them in the `last` layers, as a share
    of those with all of them."""
    return 1 - dropped * last / (length * layers)


def timed(runs: Sequence[Callable[[], Any]], repeats: int, device: torch.device) -> list[float]:
    """The fastest of `repeats` times of each run in seconds; the runs take turns, so that all see the same machine."""
    seconds = [[] for _ in runs]  # type: list[list[float]]
    for _ in range(repeats):
        for run, times in zip(runs, seconds, strict=True):
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            times.append(time.perf_counter() - start)
    return [min(times) for times in seconds]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
