"""Lease GPUs to the jobs of one machine: Snakemake counts GPUs, but does not assign them to jobs.

A lease is a name that only one process of the machine can hold at a time, for all users together: the address of a Unix
socket in Linux's abstract namespace.  The kernel frees it when the process ends, however it ends.  There is no file
that could remain, be deleted by mistake, or belong to another user.
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

from vlmflow.errors import DeviceError

POLL = 1.0  # seconds between two attempts to lease a GPU
PATIENCE = 60  # seconds within which the driver has to answer
NO_CARD = "check the driver, or set `gpus: 0` (or CUDA_VISIBLE_DEVICES=) to run on the CPU"
VISIBLE = "CUDA_VISIBLE_DEVICES"
LONGEST = 107  # maximum number of bytes in a socket's address
DRIVERS = ("/dev/nvidiactl", "/dev/kfd")  # a GPU's driver is loaded if one of these exists


@contextlib.contextmanager
def leased(count: int) -> Iterator[str | None]:
    """Hold `count` GPUs while the block runs, after waiting until they are free; only these are then visible to CUDA.

    Only GPUs that are already visible (CUDA_VISIBLE_DEVICES, as a cluster sets it) are leased.  Enter this context
    before any code asks CUDA for its devices.

    Yields:
        the device for `load_model`: "cpu" for no GPU, "auto" for several, and otherwise None, which means the one
        visible GPU, or the CPU on a machine without GPUs.

    Raises:
        DeviceError: fewer GPUs than `count` are visible, although there are some or `count` is above 1.
    """
    names = visible_gpus() if count else []
    if not names:
        if count > 1:
            raise DeviceError(f"{count} GPUs are requested, but none is visible to this process")
        yield "cpu" if count == 0 else None
        return
    if count > len(names):
        raise DeviceError(
            f"{count} GPUs are requested, but only {len(names)} are visible to this process: {', '.join(names)}"
        )
    before = os.environ.get(VISIBLE)
    with contextlib.ExitStack() as stack:
        taken = _take(names, count, stack)
        os.environ[VISIBLE] = ",".join(taken)
        stack.callback(_restore, before)
        yield "auto" if count > 1 else None


def lease_until_exit(count: int) -> str | None:
    """The device of `leased`, held until this process ends, since its data stay on a card until then.

    A later call for the same number of GPUs, or fewer, returns the same device.

    Raises:
        DeviceError: as `leased`; or this process already holds fewer GPUs.
    """
    held = max(_HELD, default=0)
    if count > held > 0:
        raise DeviceError(f"{count} GPUs are requested, but this process has already leased {held}")
    number = held if count and held else count
    if number not in _HELD:
        stack = contextlib.ExitStack()
        _HELD[number] = (stack, stack.enter_context(leased(number)))
    return _HELD[number][1]


# Number of GPUs → the context that holds them, and their device.
_HELD: dict[int, tuple[contextlib.ExitStack, str | None]] = {}
# (number of GPUs, seconds of waiting for them) of each lease of this process.
_LEASES: list[tuple[int, float]] = []


def held_gpus() -> dict[str, float]:
    """The number of GPUs that this process has leased, and the seconds for which it waited; empty without GPUs."""
    gpus = max((gpus for gpus, _ in _LEASES), default=0)
    return {"gpus": gpus, "waited": round(sum(seconds for _, seconds in _LEASES), 1)} if gpus else {}


def visible_gpus() -> list[str]:
    """Names of the GPUs that are visible to this process, without starting CUDA; a card has one name in all processes.

    On a cluster each job may call its own card 0, so numbers are replaced by the cards' UUIDs where possible.

    Raises:
        DeviceError: a GPU's driver is loaded, but no card answers; or it is not clear which card a number means.
    """
    visible = os.environ.get(VISIBLE)
    requested = None if visible is None else _valid_names(visible)
    if requested == []:
        return []
    cards = _cards()
    if requested is None:
        return [uuid for _, uuid, _ in cards] or _gpu_numbers()
    if any(name.isdigit() for name in requested) and len({kind for *_, kind in cards}) > 1 and not _slot_order():
        raise DeviceError(
            f"{VISIBLE}={visible}: the cards here are of several kinds, which CUDA numbers by speed and nvidia-smi by "
            "slot; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or give UUIDs (nvidia-smi -L lists them)"
        )
    return list(dict.fromkeys(_uuid(name, cards) for name in requested))


def _valid_names(visible: str) -> list[str]:
    """The names in a list for CUDA, up to the first invalid one, at which CUDA stops."""
    names = [name.strip() for name in visible.split(",")]
    end = next((index for index, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:end]


def _slot_order() -> bool:
    """Whether CUDA numbers the cards in the order of their slots, as nvidia-smi does."""
    return os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"


def _uuid(name: str, cards: list[tuple[str, str, str]]) -> str:
    """A card's complete UUID by its number or by the beginning of its UUID; the name itself if no single card fits."""
    fitting = [uuid for number, uuid, _ in cards if name == number or (not name.isdigit() and uuid.startswith(name))]
    return fitting[0] if len(fitting) == 1 else name


def _cards() -> list[tuple[str, str, str]]:
    """(number, UUID, kind) of the machine's GPUs, or of those that a scheduler assigned to this process.

    Raises:
        DeviceError: the driver does not answer.
    """
    query = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"nvidia-smi has not answered for {PATIENCE} s; {NO_CARD}") from None
    except OSError:
        return []
    if listed.returncode:
        if not _driver():
            return []
        output = (listed.stdout + listed.stderr).strip() or f"status {listed.returncode}"
        raise DeviceError(f"nvidia-smi fails ({output}); {NO_CARD}")
    rows = [line.split(",", 2) for line in listed.stdout.splitlines() if line.count(",") >= 2]
    return [(index.strip(), uuid.strip(), kind.strip()) for index, uuid, kind in rows]


def _gpu_numbers() -> list[str]:
    """Numbers of the GPUs if no tool gives their UUIDs, as for AMD's GPUs or in slim containers.

    Another process counts them, since this one must choose its GPUs before it starts CUDA.

    Raises:
        DeviceError: a driver is loaded, but PyTorch finds no card.
    """
    if not (driver := _driver()):
        return []
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    counted = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = counted.stdout.split()
    number = int(lines[-1]) if lines and lines[-1].isdigit() else 0
    if not number:
        raise DeviceError(f"a GPU's driver is loaded ({driver}), but PyTorch finds no card; {NO_CARD}")
    return [str(each) for each in range(number)]


def _driver() -> str | None:
    return next((driver for driver in DRIVERS if Path(driver).exists()), None)


def _take(names: list[str], count: int, stack: contextlib.ExitStack) -> list[str]:
    """Names of the leased GPUs.

    All are leased at once, since a job that holds one GPU and waits for another may wait for ever.
    """
    since = time.monotonic()
    waiting = False
    while True:
        with contextlib.ExitStack() as attempt:
            taken = []
            for name in names:
                if (lease := _lease(name)) is not None:
                    attempt.enter_context(lease)
                    taken.append(name)
                if len(taken) == count:
                    stack.push(attempt.pop_all())
                    waited = time.monotonic() - since if waiting else 0.0
                    if waiting:
                        print(f"waited {waited:.0f} s")
                    print(f"GPU {', '.join(taken)}")
                    _LEASES.append((count, waited))
                    return taken
        if not waiting:
            print(f"waiting for {count} of the GPUs {', '.join(names)}: other jobs use them")
            waiting = True
        time.sleep(POLL)


def _lease(name: str) -> socket.socket | None:
    """A socket that holds a GPU until it is closed; None while another process holds it."""
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
    """The address of a GPU's lease.

    In a cluster's job a card may have only a number, and every job counts from 0. The address is then valid only among
    the processes of that job, to which the scheduler has assigned its cards.
    """
    own = os.environ.get("SLURM_JOB_ID", "") if name.isdigit() else ""
    return f"\0vlmflow/gpu/{own}/{name}"[:LONGEST]


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = before
