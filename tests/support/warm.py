"""Dry runs of Snakemake by a process that has imported it already, which takes longer than the dry run itself."""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

# Forks for each line that it reads, before anything of the workflow is imported: that comes from the copy under test.
SERVER = """
import json, os, sys
import jinja2, polars, pydantic, snakemake.cli, yaml
import snakemake.script, snakemake.scheduling, snakemake.workflow
import snakemake_interface_executor_plugins, snakemake_interface_logger_plugins

for line in sys.stdin:
    run = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(run["folder"])
        os.environ.clear()
        os.environ.update(run["environment"])
        for number, path in enumerate((os.devnull, run["stdout"], run["stderr"])):
            os.dup2(os.open(path, os.O_RDWR), number)
        sys.argv = [snakemake.__path__[0] + "/__main__.py", *run["arguments"]]
        try:
            snakemake.cli.main(run["arguments"])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        else:
            status = 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@functools.cache
def _server():
    return subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def dry_run(arguments, folder, environment):
    """As `subprocess.run` of `python -m snakemake` with these arguments, of which one is --dry-run."""
    server = _server()
    with tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = (Path(outputs, name) for name in ("stdout", "stderr"))
        stdout.touch()
        stderr.touch()
        run = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        print(json.dumps(run | {"stdout": str(stdout), "stderr": str(stderr)}), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, stdout.read_text(), stderr.read_text())
