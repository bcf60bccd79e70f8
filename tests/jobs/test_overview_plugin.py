"""The overview of a run, which Snakemake starts as its plugin: in a terminal, without one, and not installed."""

import os
import pty
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch

import pytest

from support.paths import ROOT
from support.workspace import SNAKEMAKE, Workspace

PAUSE = re.compile(r"\x1b|\r")
STEPS = """
rule all:
    default_target: True
    input: expand("out/{n}", n=range(4))
rule step:
    output: "out/{n}"
    log: "logs/{n}.log"
    shell: "echo begun > {log}; sleep 1.5; echo {wildcards.n} > {output}; [ {wildcards.n} != %s ]"
"""


def steps(folder, failing, *arguments):
    (folder / "Snakefile").write_text(STEPS % failing)
    return [*SNAKEMAKE, "--cores", "2", "--logger", "vlmflow", "--show-failed-logs", "--keep-going", *arguments]


@pytest.fixture
def environment():
    return os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts"), "TERM": "xterm-256color"}


def in_terminal(command, folder, environment):
    """(what a terminal is sent, exit status)."""
    leader, follower = pty.openpty()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=follower, stderr=follower) as process:
        os.close(follower)
        sent = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            sent += piece
    os.close(leader)
    return sent.decode(), process.returncode


def test_in_a_terminal_the_overview_is_drawn_and_the_cursor_comes_back(tmp_path, environment):
    sent, status = in_terminal(steps(tmp_path, "2"), tmp_path, environment)
    assert status == 1
    assert "2 running" in sent
    assert "logs/2.log" in sent
    assert "Error in rule step" in sent
    assert "Exiting because a job execution failed" in sent
    assert re.search(r"5 jobs: 3 done, .*1 failed", sent)
    assert "\x1b[?25h" in sent  # the cursor is there in the end
    assert sent.rindex("\x1b[?25h") > sent.rfind("\x1b[?25l")


def test_without_a_terminal_the_overview_is_plain_lines(tmp_path, environment):
    command = steps(tmp_path, "2")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not PAUSE.search(done.stderr)
    assert "Logfile logs/2.log" in done.stderr
    assert "5 jobs: 3 done, 1 waiting, 1 failed" in done.stderr


def test_snakemake_alone_runs_without_the_plugin(tmp_path):
    """The profile asks for the overview only where it is installed."""
    Workspace(tmp_path)
    code = "import sys; sys.path[:] = [p for p in sys.path if 'workflow_scripts' not in p]; "
    code += "from snakemake.cli import main; main(['--cores', '1', '--dry-run'])"
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "run_probe" in done.stdout


def test_an_installed_package_holds_the_plugin():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    for package in ("vlmflow", "snakemake_logger_plugin_vlmflow"):
        assert any(fnmatch(package, pattern) for pattern in included)
        assert (ROOT / "workflow_scripts" / package / "__init__.py").is_file()
