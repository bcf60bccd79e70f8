"""What holds a run of the workflow together: its jobs end when it ends, however it ends, and what a killed run leaves
behind does not stop the next one."""

import atexit
import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import threading
from pathlib import Path
from typing import TextIO

# Which process runs the workflow, for its jobs: machine, cluster job (if it is inside of one), process, its start.
RUN = "VLMFLOW_RUN"


def begin_run(folder: Path) -> bool:
    """Note that this process runs the workflow; called by the Snakefile, of Snakemake's main process.

    Snakemake locks the files that it is about to write, and a run that is killed leaves its locks behind.  They are
    taken away here if no other run is alive that could have them: each run holds a lock of the kernel's on one file, on
    which it has written where it runs.

    Args:
        folder: Snakemake's own, `.snakemake`.

    Returns:
        whether a killed run's locks were found and taken away.
    """
    os.environ[RUN] = f"{_place()} {os.getpid()} {_started(os.getpid())}"
    try:
        folder.mkdir(exist_ok=True)
        held = (folder / "run").open("a+")  # never deleted: others may be about to lock it
        alone = _lock(held.fileno(), fcntl.LOCK_EX)
    except OSError:
        return False  # a folder or file system without locks: Snakemake's own remain
    stale = False
    if alone:
        held.seek(0)
        # Where a run on another machine was the last one, the kernel here may not know whether it lives.
        stale = bool(_locks(folder)) and held.read() in ("", socket.gethostname())
        if stale:
            shutil.rmtree(folder / "locks", ignore_errors=True)
        if not _locks(folder):
            _write(held, socket.gethostname())
    # From now on shared with other runs in this folder, which can have it for themselves when all have ended.
    fcntl.flock(held, fcntl.LOCK_SH)
    atexit.register(_end_run, held, os.getpid())
    _HELD.append(held)
    return stale


def end_with_run(log: TextIO | None = None) -> None:
    """End this process when the run of the workflow ends to which it belongs, or the process that started it: those
    that are killed cannot do it.

    Without that, a job would go on, hold its GPU, and write its files a second time beside the next run's.  A job on a
    cluster does not end with its run, which may sit on a machine that is restarted.  Of a script that is started by
    hand nothing is asked.

    Args:
        log: is told why.
    """
    *place, run, started = os.environ.get(RUN, " ").split(" ")
    if not place or not hasattr(os, "pidfd_open"):
        return
    ends = []
    if " ".join(place) == _place():
        if _started(int(run)) != started:
            _end(log)
        ends += _watched(int(run))
    ends += _watched(os.getppid())
    threading.Thread(target=_end_after, args=(ends, log), name="end with the run", daemon=True).start()


_HELD: list = []  # files whose locks are held as long as the process lives


def _place() -> str:
    return f"{socket.gethostname()} {os.environ.get('SLURM_JOB_ID', '-')}"


def _lock(file: int, kind: int) -> bool:
    """Whether the lock was there to take."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locks(folder: Path) -> list[Path]:
    return list((folder / "locks").glob("*.lock"))


def _write(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


def _end_run(held: TextIO, process: int) -> None:
    # Processes that were forked off end here too, and have nothing to say.
    if os.getpid() == process and _lock(held.fileno(), fcntl.LOCK_EX):
        with contextlib.suppress(OSError):
            _write(held, "")


def _started(process: int) -> str:
    """When a process was started, in the kernel's ticks: with its number, its name for good. Empty if there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _watched(process: int) -> list[int]:
    """What says when a process ends; nothing of one that cannot be seen, as from within a container."""
    try:
        return [os.pidfd_open(process)]
    except OSError:
        return []


def _end_after(ends: list[int], log: TextIO | None) -> None:
    poll = select.poll()
    for each in ends:
        poll.register(each, select.POLLIN)
    if ends:
        poll.poll()
        _end(log)


def _end(log: TextIO | None) -> None:
    if log is not None:
        with contextlib.suppress(OSError, ValueError):
            log.write("The run to which this job belongs has ended; so does the job.\n")
            log.flush()
    os.kill(os.getpid(), signal.SIGKILL)
