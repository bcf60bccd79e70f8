"""Lease GPUs among the jobs of one machine: Snakemake counts them, but does not say which one a job is to take.

A lease is a name that only one process of the machine can have at a time, whoever's it is: the address of a Unix socket
in Linux's abstract namespace.  The kernel frees it when the process ends, however it ends; no file is left behind, none
can be deleted by somebody who tidies up, and none belongs to another user.
"""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .jobs import JobError

POLL = 1.0  # seconds between two looks for a free GPU
VISIBLE = "CUDA_VISIBLE_DEVICES"
LONGEST = 107  # bytes of a socket's address
DRIVERS = ("/dev/nvidiactl", "/dev/kfd")  # there is a GPU's driver where one of these is


class DeviceError(JobError):
    """More GPUs are asked for than this machine has; the message says how many."""


@contextlib.contextmanager
def leased(count: int) -> Iterator[str | None]:
    """Hold `count` GPUs while the block runs, waiting until they are free; CUDA then sees these and no others.

    Only GPUs that are visible already (CUDA_VISIBLE_DEVICES, as a cluster sets it) are taken.  To be entered before
    anything asks CUDA for its devices.

    Yields:
        the device for `load_model`: "cpu" if no GPU is asked for, "auto" for several, and else None: the one GPU that
        is left to see, or the CPU of a machine without any.

    Raises:
        DeviceError: there are some GPUs, but fewer than `count`.
    """
    names = visible_gpus() if count else []
    if not names:
        if count > 1:
            raise DeviceError(f"{count} GPUs are asked for, but this process sees none")
        yield "cpu" if count == 0 else None
        return
    if count > len(names):
        raise DeviceError(f"{count} GPUs are asked for, but this process sees {len(names)}: {', '.join(names)}")
    before = os.environ.get(VISIBLE)
    with contextlib.ExitStack() as stack:
        taken = _take(names, count, stack)
        os.environ[VISIBLE] = ",".join(taken)
        stack.callback(_restore, before)
        yield "auto" if count > 1 else None


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process sees, without waking CUDA: the same name for the same card in every process.

    On a cluster each job may call its own card 0, so that numbers are turned into the cards' UUIDs where that can be.
    """
    uuids = _uuids()
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return list(uuids.values()) or _counted()
    names = [name.strip() for name in visible.split(",")]
    return [uuids.get(name, name) for name in names if name not in ("", "-1")]


def _uuids() -> dict[str, str]:
    """Number → UUID of the machine's GPUs, or of those that a scheduler lets this process see."""
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    rows = [line.split(",") for line in listed.stdout.splitlines() if "," in line]
    return {index.strip(): uuid.strip() for index, uuid in rows}


def _counted() -> list[str]:
    """Numbers of the GPUs where no tool gives their UUIDs, as on AMD's or in slim containers.

    Counted by another process, since this one must choose its GPUs before it wakes them.
    """
    if not any(Path(driver).exists() for driver in DRIVERS):
        return []
    count = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    found = subprocess.run(count, capture_output=True, text=True, check=False).stdout.strip()
    return [str(number) for number in range(int(found or 0))]


def _take(names: list[str], count: int, stack: contextlib.ExitStack) -> list[str]:
    """All at once or none: a job that held one GPU while it waits for a second could wait for ever."""
    since = time.monotonic()
    said = False
    while True:
        with contextlib.ExitStack() as attempt:
            taken = []
            for name in names:
                if (lease := _lease(name)) is not None:
                    attempt.enter_context(lease)
                    taken.append(name)
                if len(taken) == count:
                    stack.push(attempt.pop_all())
                    if said:
                        print(f"waited {time.monotonic() - since:.0f} s")
                    print(f"GPU {', '.join(taken)}")
                    return taken
        if not said:
            print(f"waiting for {count} of the GPUs {', '.join(names)}: other jobs have them")
            said = True
        time.sleep(POLL)


def _lease(name: str) -> socket.socket | None:
    """What holds a GPU until it is closed; None while another process holds it."""
    lease = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lease.bind(_address(name))
    except OSError as error:
        lease.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return lease


def _address(name: str) -> str:
    """Where a GPU's lease is found.

    Within a cluster's job a number may be all that a card is known by, and every job counts from 0: there it is shared
    only among the processes of that job, to which the scheduler has given its cards.
    """
    own = os.environ.get("SLURM_JOB_ID", "") if name.isdigit() else ""
    return f"\0vlmflow/gpu/{own}/{name}"[:LONGEST]


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = before
