"""What is mended in Snakemake, which leaves the paths of Python and of files bare or badly quoted in its commands.

A shell takes `/home/me/my project/.venv/bin/python` apart, and `it's "mine"` has no meaning for it.  Each place that is
mended is looked at first: of another Snakemake nothing is assumed.
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

BARE, QUOTED = "{py_exec} {fname:q}", "{py_exec:q} {fname:q}"
MODULE = " -m snakemake"


def check_folder(folder: str) -> None:
    """Whether Snakemake can be used with a folder of this name.

    Raises:
        FolderError: it has braces, which Snakemake takes for placeholders.
    """
    if set(folder) & set("{}"):
        raise FolderError(
            f"{folder}: Snakemake takes braces in a path for a placeholder, so that no job could start in this folder; "
            "give it a name without { and }"
        )


def quote_paths(*folders: str) -> None:
    """Have Snakemake quote the paths in its commands: of Python in those of scripts and of jobs that are processes or
    jobs of a cluster, of files in the arguments of the latter.

    Nothing is touched where the paths of Python and of these folders mean the same to a shell with and without quotes.

    Raises:
        FolderError: they do not, and this Snakemake makes its commands in another way.
    """
    if all(shlex.quote(path) == path for path in (sys.executable, *folders)):
        return
    ways = inspect.getsource(PythonScript.execute_script), inspect.getsource(RealExecutor.format_job_exec)
    if not ((BARE in ways[0] or QUOTED in ways[0]) and f'"{MODULE.strip()}"' in ways[1]):
        raise _unknown()
    if getattr(PythonScript, "_quoted_here", False):
        return
    PythonScript._quoted_here = True
    PythonScript._execute_cmd = _of_script(PythonScript._execute_cmd)
    RealExecutor.format_job_exec = _of_job(RealExecutor.format_job_exec)
    utils.format_cli_value = _of_argument(utils.format_cli_value)


def _of_script(execute: Any) -> Any:
    def execute_quoted(self: PythonScript, command: str, **settings: Any) -> Any:
        return execute(self, QUOTED if command == BARE else command, **settings)

    return execute_quoted


def _of_job(written: Any) -> Any:
    def format_job_exec(self: RealExecutor, job: Any) -> str:
        command, python = written(self, job), self.get_python_executable()
        quoted = shlex.quote(python)
        if quoted + MODULE in command:
            return command
        if python + MODULE not in command:
            raise _unknown()
        return command.replace(python + MODULE, quoted + MODULE, 1)

    return format_job_exec


def _of_argument(written: Any) -> Any:
    def format_cli_value(value: Any, quote: bool = False, base64_encode: bool = False) -> str:
        text = written(value, quote=quote, base64_encode=base64_encode)
        # As Python writes a text with both kinds of quotes, no shell reads it.
        return shlex.quote(value) if isinstance(value, str) and text == repr(value) else text

    return format_cli_value


def _unknown() -> FolderError:
    return FolderError(
        f"{Path(sys.executable).parent}: Snakemake {snakemake.__version__} starts Python in a way that is not known "
        "here, and a shell would take this folder's name apart; install the workflow in a folder whose path has no "
        "spaces or quotes, or take the version of Snakemake in constraints.txt"
    )
