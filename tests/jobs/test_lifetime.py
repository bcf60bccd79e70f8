"""Runs of the workflow that end badly: nothing of theirs goes on, and nothing that they leave stops the next one."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

RUN = """
import sys, subprocess, time
from pathlib import Path
from vlmflow.jobs.lifetime import register_run
print(register_run(Path(sys.argv[1])), flush=True)
if len(sys.argv) > 2:
    subprocess.run([sys.executable, "-c", sys.argv[2]])
sys.stdin.read()
"""
JOB = (
    "import os, time; from vlmflow.jobs.lifetime import exit_with_run; exit_with_run()\n"
    "print(os.getpid(), flush=True); time.sleep(60)"
)


def run(folder, *job, **environment):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), *job], env=os.environ | environment, **pipes)


def answer(process):
    return process.stdout.readline().strip()


def end(process):
    process.communicate("", timeout=30)


def kill(process):
    process.kill()
    process.wait()


@pytest.fixture
def folder(tmp_path):
    """Snakemake's folder with the locks of some run."""
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/demo/index.html\n")
    return locks.parent


def test_locks_of_a_killed_run_are_removed(folder):
    killed = run(folder)
    assert answer(killed) == "True"  # whatever run left these, it is not alive
    (folder / "locks").mkdir()
    (folder / "locks" / "0.output.lock").touch()
    kill(killed)
    following = run(folder)
    assert answer(following) == "True"
    assert not (folder / "locks").exists()
    end(following)
    assert (folder / "run").read_text() == ""


def test_locks_of_a_living_run_stay(folder):
    first = run(folder)
    answer(first)
    (folder / "locks").mkdir()
    (folder / "locks" / "0.output.lock").touch()
    second = run(folder)
    assert answer(second) == "False"
    end(first)  # the locks are the second's now, for all that is known
    third = run(folder)
    assert answer(third) == "False"
    assert (folder / "locks" / "0.output.lock").exists()
    for each in (second, third):
        end(each)


def test_locks_of_another_machines_run_stay_until_they_are_removed_by_hand(folder):
    """Whether it still runs cannot be known here."""
    (folder / "run").write_text("elsewhere")
    here = run(folder)
    assert answer(here) == "False"
    end(here)
    assert (folder / "locks" / "0.output.lock").exists()
    (folder / "run").write_text("elsewhere")
    shutil.rmtree(folder / "locks")  # as `snakemake --unlock` does
    killed = run(folder)
    assert answer(killed) == "False"
    (folder / "locks").mkdir()
    (folder / "locks" / "0.output.lock").touch()
    kill(killed)
    following = run(folder)
    assert answer(following) == "True"
    end(following)


def test_runs_that_begin_and_end_at_once_see_each_other(tmp_path):
    """Nobody holds a lock on a file that others no longer find."""
    command = [sys.executable, "-c", RUN.replace("sys.stdin.read()", ""), str(tmp_path)]
    for _ in range(5):
        living = run(tmp_path)
        answer(living)
        passing = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
        for each in passing:
            each.communicate(timeout=30)
        (tmp_path / "locks").mkdir(exist_ok=True)
        (tmp_path / "locks" / "0.output.lock").touch()
        assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"False\n"
        (tmp_path / "locks" / "0.output.lock").unlink()
        end(living)


def test_a_folder_that_cannot_be_made_is_left_for_snakemake_to_report(tmp_path):
    (tmp_path / "file").touch()
    first = run(tmp_path / "file" / ".snakemake")
    assert answer(first) == "False"
    end(first)


def test_without_locks_nothing_is_reported(tmp_path):
    first = run(tmp_path / ".snakemake")
    assert answer(first) == "False"
    end(first)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def gone(process, within):
    until = time.monotonic() + within
    while alive(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(process)


def test_a_job_ends_with_its_run(tmp_path):
    killed = run(tmp_path, JOB)
    answer(killed)
    job = int(answer(killed))
    assert alive(job)
    kill(killed)
    assert gone(job, within=10)


def test_a_job_ends_with_the_shell_that_started_it(tmp_path, monkeypatch):
    """As where an environment is activated before each job."""
    monkeypatch.setenv("VLMFLOW_RUN", f"elsewhere - {os.getpid()} 0")
    shell = subprocess.Popen(
        ["bash", "-c", '"$0" -c "$1"; exit 0', sys.executable, JOB], stdout=subprocess.PIPE, text=True
    )
    job = int(answer(shell))
    kill(shell)
    assert gone(job, within=10)


def test_a_job_on_a_cluster_goes_on(tmp_path):
    """The same host name does not make it the same place: a job of the scheduler's has its own."""
    submit = (
        "import os, subprocess, sys; os.environ['SLURM_JOB_ID'] = '7'\n"
        f"job = subprocess.Popen([sys.executable, '-c', {JOB!r}]); job.wait()"
    )
    killed = run(tmp_path, submit)
    answer(killed)
    job = int(answer(killed))
    kill(killed)
    assert not gone(job, within=1)
    os.kill(job, signal.SIGKILL)


def test_a_job_whose_run_is_gone_does_not_begin(tmp_path):
    finished = subprocess.Popen([sys.executable, "-c", "pass"])
    finished.wait()
    run = f"os.environ[lifetime.RUN] = f'{{lifetime._location()}} {finished.pid} 1'"
    code = f"import os; from vlmflow.jobs import lifetime; {run}; {JOB}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


def test_a_job_without_a_run_goes_on():
    """A script that somebody runs by hand."""
    code = JOB.replace("time.sleep(60)", "time.sleep(0.5); print('end')")
    environment = {name: value for name, value in os.environ.items() if name != "VLMFLOW_RUN"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("end\n")
