"""Lease GPUs among the jobs of one machine: Snakemake counts them, but does not say which one a job is to take.

A lease is a name that only one process of the machine can have at a time, of whichever user: the address of a Unix
socket in Linux's abstract namespace.  The kernel frees it when the process ends, however it ends; no file is left
behind, none can be deleted by mistake, and none belongs to another user.
"""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vlmflow.errors import DeviceError

POLL = 1.0  # seconds between two looks for a free GPU
PATIENCE = 60  # seconds for the driver to answer
NO_CARD = "check the driver, or set `gpus: 0` (or CUDA_VISIBLE_DEVICES=) to run on the CPU"
VISIBLE = "CUDA_VISIBLE_DEVICES"
LONGEST = 107  # bytes of a socket's address
DRIVERS = ("/dev/nvidiactl", "/dev/kfd")  # there is a GPU's driver where one of these is


@contextlib.contextmanager
def leased(count: int) -> Iterator[str | None]:
    """Hold `count` GPUs while the block runs, waiting until they are free; CUDA then sees these and no others.

    Only GPUs that are visible already (CUDA_VISIBLE_DEVICES, as a cluster sets it) are taken.  Enter it before
    anything asks CUDA for its devices.

    Yields:
        the device for `load_model`: "cpu" for no GPU, "auto" for several, and else None: the one GPU that is visible,
        or the CPU of a machine without any.

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


def lease_for_good(count: int) -> str | None:
    """The same for as long as this process lives, since its data stay on a card until it ends.

    A later call for as many GPUs or fewer returns the same ones.

    Raises:
        DeviceError: as `leased`; or this process holds fewer already.
    """
    held = max(_HELD, default=0)
    if count > held > 0:
        raise DeviceError(f"{count} GPUs are asked for, but this process already works on {held}")
    number = held if count and held else count
    if number not in _HELD:
        stack = contextlib.ExitStack()
        _HELD[number] = (stack, stack.enter_context(leased(number)))
    return _HELD[number][1]


# Number of GPUs → what holds them, and their device.
_HELD: dict[int, tuple[contextlib.ExitStack, str | None]] = {}
# (GPUs, seconds for which it waited for them) of each lease of this process.
_LEASES: list[tuple[int, float]] = []


def gpu_note(log: str | Path) -> Path:
    """Where the number of GPUs is kept that the job with this log has leased."""
    return Path(log).with_suffix(".gpus.json")


def write_gpu_note(log: str | Path) -> None:
    """Write the number of GPUs that this process has leased, and the seconds for which it waited for them.

    The account of the study's cost reads it; a process without GPUs leaves no note.
    """
    gpus = max((gpus for gpus, _ in _LEASES), default=0)
    if not gpus:
        gpu_note(log).unlink(missing_ok=True)
        return
    waited = sum(seconds for _, seconds in _LEASES)
    gpu_note(log).write_text(json.dumps({"gpus": gpus, "waited": round(waited, 1)}), encoding="utf-8")


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process sees, without starting CUDA: the same name for a card in every process.

    On a cluster each job may call its own card 0, so that numbers are turned into the cards' UUIDs where possible.

    Raises:
        DeviceError: there is a GPU's driver, but no card that answers; or it is not clear which one is meant.
    """
    visible = os.environ.get(VISIBLE)
    asked = None if visible is None else _asked(visible)
    if asked == []:
        return []
    cards = _cards()
    if asked is None:
        return [uuid for _, uuid, _ in cards] or _counted()
    if any(name.isdigit() for name in asked) and len({kind for *_, kind in cards}) > 1 and not _by_slot():
        raise DeviceError(
            f"{VISIBLE}={visible}: the cards here are of several kinds, which CUDA numbers by speed and nvidia-smi by "
            "slot; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or give UUIDs (nvidia-smi -L lists them)"
        )
    return list(dict.fromkeys(_uuid(name, cards) for name in asked))


def _asked(visible: str) -> list[str]:
    """The names in a list for CUDA, which reads it up to the first invalid one."""
    names = [name.strip() for name in visible.split(",")]
    end = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:end]


def _by_slot() -> bool:
    return os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"


def _uuid(name: str, cards: list[tuple[str, str, str]]) -> str:
    """A card's complete UUID by its number or by the beginning of its UUID; the name itself where none fits."""
    fitting = [uuid for number, uuid, _ in cards if name == number or (not name.isdigit() and uuid.startswith(name))]
    return fitting[0] if len(fitting) == 1 else name


def _cards() -> list[tuple[str, str, str]]:
    """(number, UUID, kind) of the machine's GPUs, or of those that a scheduler lets this process see.

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


def _counted() -> list[str]:
    """Numbers of the GPUs where no tool gives their UUIDs, as on AMD's or in slim containers.

    Counted by another process, since this one must choose its GPUs before it starts CUDA.

    Raises:
        DeviceError: there is a driver, but PyTorch sees no card.
    """
    if not (driver := _driver()):
        return []
    count = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    found = subprocess.run(count, capture_output=True, text=True, check=False)
    lines = found.stdout.split()
    number = int(lines[-1]) if lines and lines[-1].isdigit() else 0
    if not number:
        raise DeviceError(f"there is a GPU's driver ({driver}), but PyTorch sees no card; {NO_CARD}")
    return [str(each) for each in range(number)]


def _driver() -> str | None:
    return next((driver for driver in DRIVERS if Path(driver).exists()), None)


def _take(names: list[str], count: int, stack: contextlib.ExitStack) -> list[str]:
    """Names of the leased GPUs, all at once: a job that holds one and waits for another may wait for ever."""
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
            print(f"waiting for {count} of the GPUs {', '.join(names)}: other jobs have them")
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

    In a cluster's job a card may have nothing but a number, and every job counts from 0: there its address is shared
    only among the processes of that job, to which the scheduler has given its cards.
    """
    own = os.environ.get("SLURM_JOB_ID", "") if name.isdigit() else ""
    return f"\0vlmflow/gpu/{own}/{name}"[:LONGEST]


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = before
