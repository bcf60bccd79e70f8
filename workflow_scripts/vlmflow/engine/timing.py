"""Measure times of runs that are compared with each other."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch


def timed(runs: Sequence[Callable[[], Any]], repeats: int, device: torch.device) -> list[float]:
    """The fastest of `repeats` times of each run in seconds; the runs take turns, so that the machine's load is the
    same for all of them."""
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
