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

# Which process runs the workflow, for its jobs: machine, cluster job (if it is inside of one), process.
RUN = "VLMFLOW_RUN"


def begin_run(folder: Path) -> bool:
    """Note that this process runs the workflow; called by the Snakefile, of Snakemake's main process.

    Snakemake locks the files that it is about to write, and a run that is killed leaves its locks behind.  They are
    taken away here if no other run is alive that could have them.

    Args:
        folder: Snakemake's own, `.snakemake`.

    Returns:
        whether a killed run's locks were found and taken away.
    """
    os.environ[RUN] = f"{_place()} {os.getpid()}"
    folder.mkdir(exist_ok=True)
    own = folder / f"run-on-{socket.gethostname()}"
    try:
        held = own.open("a")
        alone = _lock(held.fileno(), fcntl.LOCK_EX)
    except OSError:
        return False  # a folder or file system without locks: Snakemake's own remain
    # Runs on other machines cannot be asked, only seen.
    stale = alone and not [other for other in folder.glob("run-on-*") if other != own] and _locks(folder)
    if stale:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    # From now on shared with other runs in this folder, which can have it for themselves when all have ended.
    fcntl.flock(held, fcntl.LOCK_SH)
    atexit.register(_end_run, own, held.fileno(), os.getpid())
    _HELD.append(held)
    return bool(stale)


def end_with_run() -> None:
    """End this process when the run of the workflow ends to which it belongs, or the process that started it: those
    that are killed cannot do it.

    Without that, a job would go on, hold its GPU, and write its files a second time beside the next run's.  A job on a
    cluster does not end with its run, which may sit on a machine that is restarted.  Of a script that is started by
    hand nothing is asked.
    """
    place, _, run = os.environ.get(RUN, "").rpartition(" ")
    if not run or not hasattr(os, "pidfd_open"):
        return
    watched = {os.getppid()} | ({int(run)} if place == _place() else set())
    try:
        ends = [os.pidfd_open(process) for process in watched]
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
    except OSError:
        return  # a kernel that does not know
    threading.Thread(target=_end_after, args=(ends,), name="end with the run", daemon=True).start()


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


def _end_run(own: Path, held: int, process: int) -> None:
    # Processes that were forked off end here too, and have nothing to say.
    if os.getpid() == process and _lock(held, fcntl.LOCK_EX):
        with contextlib.suppress(OSError):
            own.unlink()


def _end_after(ends: list[int]) -> None:
    poll = select.poll()
    for each in ends:
        poll.register(each, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)
