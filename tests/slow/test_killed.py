"""Kill anything at any time, run the same command again, get the same bytes.

`VLMFLOW_KILLS=20 VLMFLOW_KILL_STUDY=config.yaml pytest -m slow -n 0 tests/slow/test_killed.py` kills the whole
demo, and more often.
"""

import contextlib
import os
import random
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

from support.studies import small_study
from support.workspace import Workspace
from vlmflow.tables import COST

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("VLMFLOW_KILLS", 6))
# Files about a run, which differ from run to run.
TIMED = ("logs", "benchmarks", "index.html", "cost.parquet", "store")


def killed_study():
    """Its model takes one of two GPUs, which have names, but do not exist: leases are held when jobs are killed."""
    path = os.environ.get("VLMFLOW_KILL_STUDY")
    chosen = yaml.safe_load(Path(path).read_text()) if path else small_study()
    chosen["models"]["tiny-llava"]["gpus"] = 1
    return chosen


@pytest.fixture(scope="module")
def cards():
    return {"CUDA_VISIBLE_DEVICES": ",".join(f"GPU-killed-{os.getpid()}-{number}" for number in range(2))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cards):
    workspace = Workspace(tmp_path_factory.mktemp("undisturbed"), sys.executable, **cards)
    workspace.write(killed_study())
    begin = time.monotonic()
    done = workspace.snakemake("--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(
        seconds=time.monotonic() - begin, results=results(workspace), folder=workspace.folder / "results"
    )


def results(workspace):
    """Path → bytes of all that the study has made."""
    folder = workspace.folder / "results"
    files = [file for file in folder.rglob("*") if file.is_file() and not set(file.parts) & set(TIMED)]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if not file.name.startswith(".")}


def finished(workspace):
    files = (workspace.folder / "results").rglob("*.parquet")
    return sum(1 for file in files if not file.name.startswith(".") and not set(file.parts) & set(TIMED))


def test_the_memory_of_jobs_is_measured(undisturbed):
    """Where each is a process that has imported its libraries itself."""
    (path,) = undisturbed.folder.glob("*/summary/cost.parquet")
    assert (COST.read(path)["memory"] > 100).all()


def kill(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def test_kills_at_random_moments_change_no_bytes(tmp_path, undisturbed, cards):
    rng = random.Random(0)
    longest = undisturbed.seconds / min(KILLS / 2, 5)  # between two kills, each of which also costs a start
    workspace = Workspace(tmp_path, sys.executable, **cards)
    workspace.write(killed_study())
    moments, run = [], None
    while len(moments) < KILLS:
        if run is None or run.poll() is not None:
            run = workspace.start("--resources", "gpu=2")
        until = time.monotonic() + rng.uniform(0.5, longest)
        while run.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if run.poll() is not None:  # it has ended by itself, since a job of its was killed; or since all is done
            if run.poll() == 0:
                # All of it: without a model's tables, a summary that is there asks for them only if they would differ.
                for made in (killed_study()["study"], "store"):
                    shutil.rmtree(tmp_path / "results" / made, ignore_errors=True)
            continue
        jobs = run.children(recursive=True)
        kinds = [[run], jobs, [run, *jobs], [rng.choice(jobs)]] if jobs else [[run]]
        victims = kinds[len(moments) % len(kinds)]
        moments.append((finished(workspace), len(victims), run in victims))
        for victim in victims:
            kill(victim)
        if run in victims:
            run.wait(60)
    kill(run)
    run.wait(60)
    print(moments)
    done = workspace.snakemake("--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = results(workspace), undisturbed.results
    assert sorted(here) == sorted(there)
    assert [path for path in here if here[path] != there[path]] == [], f"kept in {tmp_path}"
    half_written = [path for path in (tmp_path / "results").rglob(".*-*") if "store" not in path.parts]
    assert not half_written, "what was half written is gone"
    # The moments were spread over the run, and all kinds of processes were among the victims.
    assert len({done for done, *_ in moments}) >= min(KILLS / 2, 4)
    assert {run_too for *_, run_too in moments} == {True, False}
    assert "Nothing to be done" in workspace.snakemake("--resources", "gpu=2").stderr
    time.sleep(2)
    assert not [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(tmp_path)]
