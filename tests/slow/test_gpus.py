"""Four cards and more jobs than cards, under Snakemake itself: one job a card, whoever is killed."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow

SNAKEFILE = """
import os, sys
from pathlib import Path

sys.path.insert(0, {library!r})
from vlmflow.jobs.lifetime import register_run
from vlmflow.jobs.quoting import quote_paths

quote_paths()

if workflow.is_main_process:
    register_run(Path(".snakemake"))


rule all:
    input:
        expand("done/{{number}}", number=range({jobs})),


rule compute:
    output:
        "done/{{number}}",
    log:
        "logs/{{number}}.log",
    resources:
        gpu=lambda wildcards: 2 if int(wildcards.number) < {double} else 1,
    script:
        "compute.py"
"""
# Notes when it has which cards, by the clock that all processes share.  It keeps them for at least a second, and until
# all cards have had a job: on a busy machine, the first card may be free again before the fourth job begins.
COMPUTE = f"""
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT / "workflow_scripts")!r})
from vlmflow.jobs import gpu_lease
from vlmflow.jobs.job import logged
gpu_lease.POLL = 0.05
def cards_with_a_job():
    return {{card for file in Path("spans").glob("*.json") for card in json.loads(file.read_text())[1]}}

with logged(snakemake.log[0]):
    gpu_lease.lease_until_exit(snakemake.resources.gpu)
    cards = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    mine = f"spans/{{snakemake.wildcards.number}}-{{os.getpid()}}.json"
    begin = time.monotonic()
    while (now := time.monotonic()) < begin + 1 or (
        now < begin + 60 and len(cards_with_a_job()) < int(os.environ["CARDS_USED"])
    ):
        with open(mine + "-", "w") as file:
            json.dump([os.getpid(), cards, begin, now], file)
        os.replace(mine + "-", mine)
        time.sleep(0.01)
    open(snakemake.output[0], "w").write("done")
"""


class Machine:
    """A folder in which Snakemake runs jobs on four cards of this machine, which have names, but do not exist."""

    def __init__(self, folder, jobs, double=0):
        self.folder = folder
        self.cards = [f"GPU-test-{os.getpid()}-{folder.name}-{number}" for number in range(4)]
        self.environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": ",".join(self.cards),
            "CARDS_USED": str(min(jobs, len(self.cards))),
        }
        (folder / "spans").mkdir()
        (folder / "Snakefile").write_text(
            SNAKEFILE.format(library=str(ROOT / "workflow_scripts"), jobs=jobs, double=double)
        )
        (folder / "compute.py").write_text(COMPUTE)
        self.jobs = jobs

    def start(self, *arguments):
        command = [sys.executable, "-m", "snakemake", "--cores", "16", "--rerun-incomplete", *arguments]
        with (self.folder / "output").open("a") as output:
            return psutil.Popen(command, cwd=self.folder, env=self.environment, stdout=output, stderr=output)

    def computing(self, run, count=1):
        """Processes of the run that have cards, once there are so many."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            have = {json.loads(file.read_text())[0] for file in (self.folder / "spans").glob("*.json")}
            found = [each for each in run.children(recursive=True) if each.pid in have]
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError((self.folder / "output").read_text())

    def spans(self):
        return [json.loads(file.read_text()) for file in (self.folder / "spans").glob("*.json")]

    def check(self):
        """Every job is done, every card was used, and none by two at a time."""
        assert len(list((self.folder / "done").iterdir())) == self.jobs
        by_card = {}
        for _, cards, begin, end in self.spans():
            for card in cards:
                by_card.setdefault(card, []).append((begin, end))
        assert set(by_card) <= set(self.cards)
        for spans in by_card.values():
            spans.sort()
            for (_, before), (after, _) in itertools.pairwise(spans):
                assert before <= after, by_card
        return by_card


def most_at_once(spans):
    moments = sorted([(begin, 1) for *_, begin, _ in spans] + [(end, -1) for *_, end in spans])
    running = [sum(change for _, change in moments[: n + 1]) for n in range(len(moments))]
    return max(running)


@pytest.mark.parametrize(
    ("arguments", "double"),
    [(["--resources", "gpu=4"], 2), ([], 0)],
    ids=["as many as there are", "not limited"],
)
def test_no_card_has_two_jobs_at_a_time(tmp_path, arguments, double):
    machine = Machine(tmp_path, jobs=8, double=double)
    assert machine.start(*arguments).wait(120) == 0, (tmp_path / "output").read_text()
    assert len(machine.check()) == 4
    assert most_at_once(machine.spans()) >= 3  # all cards are kept busy


@pytest.mark.parametrize("victim", ["holder", "run", "both"])
def test_after_a_kill_the_same_command_finishes(tmp_path, victim):
    """After a kill, the same command finishes, and no card ever has two jobs."""
    machine = Machine(tmp_path, jobs=8)
    first = machine.start("--resources", "gpu=4", "--keep-going")
    holders = machine.computing(first, count=3)
    if victim in ("run", "both"):
        first.send_signal(signal.SIGKILL)
    if victim in ("holder", "both"):
        holders[0].send_signal(signal.SIGKILL)
    assert first.wait(120) != 0
    second = machine.start("--resources", "gpu=4")
    assert second.wait(120) == 0, (tmp_path / "output").read_text()
    assert set(machine.check()) == set(machine.cards)
    if victim != "holder":
        assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in holders)


def test_a_job_whose_shell_is_killed_frees_its_card(tmp_path):
    """The process between Snakemake and a job, where an environment is activated for it."""
    machine = Machine(tmp_path, jobs=1)
    card = machine.cards[0]
    code = (
        "import os, sys, time; from vlmflow.jobs import gpu_lease, lifetime; lifetime.exit_with_run()\n"
        "with gpu_lease.leased(1): print(os.getpid(), flush=True); time.sleep(60)"
    )
    here = machine.environment | {"CUDA_VISIBLE_DEVICES": card, "VLMFLOW_RUN": f"elsewhere - {os.getpid()} 0"}
    command = ["bash", "-c", '"$0" -c "$1"; true', sys.executable, code]
    shell = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True)
    lines = iter(shell.stdout.readline, "")
    job = psutil.Process(int(next(text for text in lines if text.strip().isdigit())))
    shell.kill()
    shell.wait()
    psutil.wait_procs([job], timeout=10)
    assert not job.is_running()
    assert machine.start("--resources", "gpu=4").wait(60) == 0
    machine.check()
