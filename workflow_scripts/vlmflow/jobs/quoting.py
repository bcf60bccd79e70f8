"""Quoting of paths in Snakemake's commands, which Snakemake itself leaves unquoted or quotes wrongly.

A shell splits `/home/me/my project/.venv/bin/python` at its space, and cannot parse `it's "mine"`.  The source of each
of Snakemake's functions is checked before the function is replaced, since another version may differ.
"""

import inspect
import shlex
import sys
from pathlib import Path
from typing import Any

import snakemake
from snakemake.script import PythonScript
from snakemake_interface_executor_plugins import utils
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from vlmflow.errors import FolderError

UNQUOTED, QUOTED = "{py_exec} {fname:q}", "{py_exec:q} {fname:q}"
MODULE = " -m snakemake"


def check_folder(folder: str) -> None:
    """Check that Snakemake can be used with a folder of this name.

    Raises:
        FolderError: the name has braces, which Snakemake takes for placeholders.
    """
    if set(folder) & set("{}"):
        raise FolderError(
            f"{folder}: Snakemake reads braces in a path as a placeholder, so no job could start in this folder; "
            "give the folder a name without { and }"
        )


def quote_paths(*folders: str) -> None:
    """Make Snakemake quote the paths in its commands.

    These are the path of Python in the commands that start scripts and jobs, and the paths of files in the arguments of
    jobs that run as separate processes or on a cluster.

    Nothing is replaced if the paths of Python and of these folders need no quotes.

    Raises:
        FolderError: the paths need quotes, and this version of Snakemake builds its commands in another way.
    """
    if all(shlex.quote(path) == path for path in (sys.executable, *folders)):
        return
    sources = inspect.getsource(PythonScript.execute_script), inspect.getsource(RealExecutor.format_job_exec)
    if not ((UNQUOTED in sources[0] or QUOTED in sources[0]) and f'"{MODULE.strip()}"' in sources[1]):
        raise _unknown_version()
    if getattr(PythonScript, "_quoted_here", False):
        return
    PythonScript._quoted_here = True
    PythonScript._execute_cmd = _quoting_scripts(PythonScript._execute_cmd)
    RealExecutor.format_job_exec = _quoting_jobs(RealExecutor.format_job_exec)
    utils.format_cli_value = _quoting_arguments(utils.format_cli_value)


def _quoting_scripts(execute: Any) -> Any:
    def execute_quoted(self: PythonScript, command: str, **settings: Any) -> Any:
        return execute(self, QUOTED if command == UNQUOTED else command, **settings)

    return execute_quoted


def _quoting_jobs(original: Any) -> Any:
    def format_job_exec(self: RealExecutor, job: Any) -> str:
        command, python = original(self, job), self.get_python_executable()
        quoted = shlex.quote(python)
        if quoted + MODULE in command:
            return command
        if python + MODULE not in command:
            raise _unknown_version()
        return command.replace(python + MODULE, quoted + MODULE, 1)

    return format_job_exec


def _quoting_arguments(original: Any) -> Any:
    def format_cli_value(value: Any, quote: bool = False, base64_encode: bool = False) -> str:
        text = original(value, quote=quote, base64_encode=base64_encode)
        # A text with both kinds of quotes is written differently in Python and in a shell.
        return shlex.quote(value) if isinstance(value, str) and text == repr(value) else text

    return format_cli_value


def _unknown_version() -> FolderError:
    return FolderError(
        f"{Path(sys.executable).parent}: Snakemake {snakemake.__version__} starts Python in a way that this "
        "workflow does not know, and a shell would split this folder's name; install the workflow in a folder whose "
        "path has no spaces or quotes, or install the version of Snakemake in constraints.txt"
    )
