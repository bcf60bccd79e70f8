"""A Python that runs Snakemake and scripts as forks of a process that has imported the libraries already.

That takes longer than most jobs of a small study. For tests of what a study makes: those of processes, of memory and of
what is installed use the real one.
"""

import functools
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Variables with these beginnings are read when Python starts, or when a library is imported.
READ_AT_THE_START = (
    "CUDA",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB",
    "LANG",
    "LC_",
    "MKL",
    "OMP",
    "OPENBLAS",
    "POLARS",
    "PYTHON",
    "TORCH",
    "TRANSFORMERS",
)
_PROCESSES = []  # each ends when its standard input is closed, with this process


def python(environment):
    """The path of the program that is Python for processes with this environment."""
    return _python(*sorted(each for each in environment.items() if each[0].startswith(READ_AT_THE_START)))


@functools.cache
def _python(*read_at_the_start):
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    others = {key: value for key, value in os.environ.items() if not key.startswith(READ_AT_THE_START)}
    process = subprocess.Popen(
        [sys.executable, HERE / "warm_server.py", folder / "socket"],
        env=others | dict(read_at_the_start),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    _PROCESSES.append(process)
    program = folder / "python"
    client = [sys.executable, "-SEs", str(HERE / "warm_client.py"), str(folder / "socket"), sys.executable]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(client)} {program} "$@"\n')
    program.chmod(0o755)
    return str(program)
