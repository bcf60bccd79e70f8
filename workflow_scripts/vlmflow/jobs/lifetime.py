"""The lifetime of a run: its jobs end with it, however it ends, and locks of a killed run do not stop the next run."""

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

# Environment variable that names the run's process to its jobs: machine, cluster job or "-", process id, start time.
RUN = "VLMFLOW_RUN"


def register_run(folder: Path) -> bool:
    """Register this process as the one that runs the workflow; returns whether locks of a killed run were removed.

    The Snakefile calls this in Snakemake's main process.  Snakemake locks the files that it will write, and a
    killed run does not remove its locks.  They are removed here if no other run that could own them is alive: each run
    holds a kernel lock on one file, which contains the name of its machine.

    Args:
        folder: Snakemake's own folder, `.snakemake`.
    """
    os.environ[RUN] = f"{_location()} {os.getpid()} {_started(os.getpid())}"
    try:
        folder.mkdir(exist_ok=True)
        held = (folder / "run").open("a+")  # never deleted: others may be about to lock it
        alone = _lock(held.fileno(), fcntl.LOCK_EX)
    except OSError:
        return False  # a file system without locks: Snakemake's own locks stay
    stale = False
    if alone:
        held.seek(0)
        # If the last run was on another machine, the kernel here may not know whether it is alive.
        stale = bool(_locks(folder)) and held.read() in ("", socket.gethostname())
        if stale:
            shutil.rmtree(folder / "locks", ignore_errors=True)
        if not _locks(folder):
            _write(held, socket.gethostname())
    # From here on the lock is shared with other runs in this folder; a later run gets it alone once all have ended.
    fcntl.flock(held, fcntl.LOCK_SH)
    atexit.register(_end_run, held, os.getpid())
    _HELD.append(held)
    return stale


def exit_with_run(log: TextIO | None = None) -> None:
    """End this process when its run of the workflow ends, or its parent process: a killed process cannot end its jobs.

    Otherwise a job would continue, keep its GPU, and write its files at the same time as the next run.  A job on a
    cluster does not end with its run, whose machine may be restarted.  A script that is started by hand belongs to no
    run; for it nothing is done.

    Args:
        log: the file to which the reason is written.
    """
    *location, run, started = os.environ.get(RUN, " ").split(" ")
    if not location or not hasattr(os, "pidfd_open"):
        return
    ends = []
    if " ".join(location) == _location():
        if _started(int(run)) != started:
            _exit(log)
        ends += _end_descriptors(int(run))
    ends += _end_descriptors(os.getppid())
    threading.Thread(target=_exit_after, args=(ends, log), name="end with the run", daemon=True).start()


_HELD: list[TextIO] = []  # files whose locks are held as long as the process lives


def _location() -> str:
    return f"{socket.gethostname()} {os.environ.get('SLURM_JOB_ID', '-')}"


def _lock(file: int, kind: int) -> bool:
    """Whether the lock was free and is now held."""
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
    # Forked processes end here too, but do not own the file.
    if os.getpid() == process and _lock(held.fileno(), fcntl.LOCK_EX):
        with contextlib.suppress(OSError):
            _write(held, "")


def _started(process: int) -> str:
    """The start time of a process in kernel ticks, which makes its id unique; empty if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _end_descriptors(process: int) -> list[int]:
    """A descriptor that becomes readable when a process ends; none for a process outside of this container."""
    try:
        return [os.pidfd_open(process)]
    except OSError:
        return []


def _exit_after(ends: list[int], log: TextIO | None) -> None:
    poll = select.poll()
    for each in ends:
        poll.register(each, select.POLLIN)
    if ends:
        poll.poll()
        _exit(log)


def _exit(log: TextIO | None) -> None:
    if log is not None:
        with contextlib.suppress(OSError, ValueError):
            log.write("The run to which this job belongs has ended, so the job is ended too.\n")
            log.flush()
    os.kill(os.getpid(), signal.SIGKILL)
