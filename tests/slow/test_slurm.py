"""The workflow on a real SLURM, through profiles/slurm: to the end, and through what goes wrong on the way."""

import re
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.paths import TINY_LLAVA
from support.servers import HubHandler, serving
from support.slurm import GPU_TYPE, GPUS, NODES, until
from support.studies import small_study
from support.workspace import Workspace

pytestmark = pytest.mark.slow

# The waits of the profile are made for a large cluster.
ON_CLUSTER = ["--workflow-profile", "profiles/slurm", "--jobs", "4", "--latency-wait", "15"]
ON_CLUSTER += ["--slurm-init-seconds-before-status-checks", "2"]
FILLED_IN = {"slurm_account": "some_account", "slurm_partition": "cpu", "gpu_partition": "gpu", "gpu_type": GPU_TYPE}
FILLED_IN |= {"most_runtime": 9, "most_mem_mb": 1200}
HUB_ID = "somebody/tiny-llava"
MODEL_RULES = {"load_model", "answer_questions", "run_probe"}
PROBE, LOGS = "results/small/tiny-llava/flow", "results/small/logs/run_probe"
SUMMARY = "results/small/summary/flow.parquet"
STORED = "results/store/knockout"
LOCAL_RULES = {
    "fetch_model",
    "fetch_images",
    "sample_answered",
    "summarise_answers",
    "collect_skipped",
    "summarise_cost",
    "format_table",
}


def one_figure():
    """A study of one probe and one figure, with a model from the hub that takes a GPU."""
    study = small_study()
    study["models"]["tiny-llava"] |= {"path": HUB_ID, "gpus": 1}
    study["probes"] = {"flow": study["probes"]["flow"]}
    study["figures"] = {"answer-position": study["figures"]["answer-position"]}
    study["claims"] = {}
    return study


def fill_in(profile):
    """What a user does first: the places of the profile that a cluster asks for."""
    text = profile.read_text()
    for name, value in FILLED_IN.items():
        text, found = re.subn(rf"# {name}: .*", f"{name}: {value}", text)
        assert found == 1, name
    profile.write_text(text)


def tables(workspace):
    """Name → content of every table of a study, but for the one that holds measured times."""
    results = workspace.folder / "results" / "small"
    paths = [path for path in sorted(results.rglob("*.parquet")) if path.name != "cost.parquet"]
    return {str(path.relative_to(results)): path.read_bytes() for path in paths}


def rule_of(job):
    """The rule of a job of SLURM's, from the comment that it carries."""
    return re.fullmatch(r"rule_(\w+?)(_wildcards_.*)?", job["Comment"])[1]


def run_id(text):
    """The name that SLURM's jobs of a run carry."""
    return re.search(r"SLURM run ID: (\S+)", text)[1]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    shutil.copytree(TINY_LLAVA, folder / HUB_ID)
    with serving(folder, HubHandler) as server:
        yield SimpleNamespace(server=server, HF_ENDPOINT=server.url, HF_HOME=str(folder / "cache"))


@pytest.fixture(scope="module")
def finished(cluster, hub, tmp_path_factory):
    """The study, run to the end on the cluster."""
    environment = cluster.environment | {"HF_ENDPOINT": hub.HF_ENDPOINT, "HF_HOME": hub.HF_HOME}
    workspace = Workspace(tmp_path_factory.mktemp("cluster"), sys.executable, **environment)
    fill_in(workspace.folder / "profiles" / "slurm" / "config.yaml")
    workspace.write(one_figure())
    done = workspace.snakemake(*ON_CLUSTER)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    # What is shown is an overview; Snakemake's own log has everything.
    (log,) = (workspace.folder / ".snakemake" / "log").glob("*.log")
    return SimpleNamespace(
        workspace=workspace, log=log.read_text(), tables=tables(workspace), jobs=cluster.jobs(run_id(text))
    )


def test_a_second_run_has_nothing_to_do(finished):
    """Although the contents of the hub's model and of the images were unknown when the first run was planned."""
    done = finished.workspace.snakemake(*ON_CLUSTER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to be done" in done.stderr, done.stderr


def test_the_tables_are_those_of_a_run_on_one_machine(finished, hub, tmp_path):
    workspace = Workspace(tmp_path, HF_ENDPOINT=hub.HF_ENDPOINT, HF_HOME=hub.HF_HOME)
    workspace.write(one_figure())
    done = workspace.snakemake("--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    here = tables(workspace)
    assert here.keys() == finished.tables.keys()
    assert [name for name in here if here[name] != finished.tables[name]] == []


def test_jobs_request_what_the_profile_and_the_rules_set(finished):
    assert {job["JobState"] for job in finished.jobs} == {"COMPLETED"}
    assert {job["Account"] for job in finished.jobs} == {"some_account"}
    assert {job["NumNodes"] for job in finished.jobs} == {"1"}
    assert {rule_of(job) for job in finished.jobs} >= MODEL_RULES | {"read_questions", "map_patches", "draw_figure"}
    for job in finished.jobs:
        with_gpu = rule_of(job) in MODEL_RULES
        assert job["Partition"] == ("gpu" if with_gpu else "cpu")
        assert job.get("TresPerJob") == (f"gres:gpu:{GPU_TYPE}:1" if with_gpu else None)
        if with_gpu:  # less than its rule would ask for
            assert (job["TimeLimit"], job["MinMemoryNode"]) == ("00:09:00", "1200M")


def test_a_job_takes_the_gpu_that_it_was_given(finished, cluster):
    given = [cluster.environment_of(job)["CUDA_VISIBLE_DEVICES"] for job in finished.jobs if job.get("TresPerJob")]
    folder = finished.workspace.folder / "results/small/logs"
    logs = [*folder.glob("*/tiny-llava.log"), *folder.glob("*/tiny-llava/**/*.log")]
    taken = [line for log in logs for line in re.findall(r"^GPU (\d+)", log.read_text(), re.MULTILINE)]
    assert sorted(taken) == sorted(given)
    assert set(given) <= {str(number) for number in range(GPUS)}
    without = [cluster.environment_of(job) for job in finished.jobs if not job.get("TresPerJob")]
    assert not any(environment.get("CUDA_VISIBLE_DEVICES") for environment in without)


def test_downloads_and_steps_of_seconds_stay_where_snakemake_runs(finished):
    ran = set(re.findall(r"^localrule (\w+):", finished.log, re.MULTILINE))
    assert ran == LOCAL_RULES | {"all"}
    assert not ran & {rule_of(job) for job in finished.jobs}


def test_jobs_on_the_nodes_do_not_contact_the_hub(finished, cluster, hub):
    assert any("model.safetensors" in path for _, path, _ in hub.server.requests)
    for job in finished.jobs:
        assert cluster.environment_of(job)["HF_HUB_OFFLINE"] == "1"


# From here on, runs that are disturbed: each computes the probe's tables again, and their summary.
# Jobs of two CPUs: one fills a node.
WIDE = ["--set-resources", "run_probe:cpus_per_task=2"]


class Disturbed:
    """A run of the study whose probe's tables and measurements are missing; whatever is done to it, the same tables
    come of it."""

    def __init__(self, finished, cluster, output):
        self.workspace, self.tables = finished.workspace, finished.tables
        self.cluster, self.output = cluster, output
        for folder in (PROBE, STORED, LOGS):
            shutil.rmtree(self.workspace.folder / folder)
        (self.workspace.folder / SUMMARY).unlink()

    def start(self, *arguments):
        self.arguments = [*ON_CLUSTER, SUMMARY, *arguments]
        self.process = self.workspace.start(*self.arguments, output=self.output)

    def jobs(self, *states):
        """Jobs of the probe in one of these states."""
        found = re.search(r"SLURM run ID: (\S+)", self.output.read_text())
        jobs = self.cluster.jobs(found[1]) if found else []
        return [job for job in jobs if rule_of(job) == "run_probe" and job["JobState"] in states]

    def computing(self):
        """Jobs of the probe that have begun with their work, and not only with starting."""
        logs = list((self.workspace.folder / LOGS).rglob("*.log"))
        return self.jobs("RUNNING") if logs else []

    def end(self, seconds):
        """Wait for its end: (exit status, all that it said)."""
        status = self.process.wait(seconds)
        return status, self.output.read_text()

    def again(self):
        """The same command."""
        done = self.workspace.snakemake(*self.arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        self.unharmed()
        return done.stdout + done.stderr

    def unharmed(self):
        assert tables(self.workspace) == self.tables


@pytest.fixture
def run(finished, cluster, tmp_path):
    """Every node is there before and after."""
    run = Disturbed(finished, cluster, tmp_path / "output")
    yield run
    if run.process.poll() is None:
        run.process.kill()
    cluster.cancel_all()
    for node in NODES:
        cluster.bring_back(node)


def test_a_job_that_exceeds_its_memory_gets_more(run):
    run.start("--set-resources", "run_probe:mem_mb=350*attempt")
    status, text = run.end(600)
    assert status == 0, text
    run.unharmed()
    killed, done = run.jobs("FAILED", "OUT_OF_MEMORY", "CANCELLED"), run.jobs("COMPLETED")
    assert {job["MinMemoryNode"] for job in killed} == {"350M"}
    assert {job["MinMemoryNode"] for job in done} == {"700M"}
    assert len(killed) == len(done) == 2
    assert all("exceeded memory limit" in Path(job["StdOut"]).read_text() for job in killed)


def test_a_node_that_goes_down_costs_no_result(run, cluster):
    run.start(*WIDE)
    until(lambda: len(run.computing()) == 2, "both jobs to run", 120)
    cluster.kill_node("node2")
    status, text = run.end(600)
    assert status == 0, text
    run.unharmed()
    (lost,) = run.jobs("NODE_FAIL")
    assert lost["NodeList"] == "node2"
    assert [job["NodeList"] for job in run.jobs("COMPLETED")] == ["node1", "node1"]


def one_runs_and_one_waits(run, cluster):
    cluster.run("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=test")
    run.start(*WIDE)
    until(lambda: run.computing() and run.jobs("PENDING"), "one job to run and one to wait", 120)


def test_an_interrupted_run_empties_the_queue(run, cluster):
    one_runs_and_one_waits(run, cluster)
    run.process.send_signal(signal.SIGINT)
    until(lambda: not cluster.queue(), "an empty queue", 15)
    status, text = run.end(60)
    assert status != 0, text
    assert {job["JobState"] for job in run.jobs("CANCELLED", "COMPLETED")} == {"CANCELLED"}
    run.again()


def test_a_terminated_run_waits_for_what_it_has_submitted(run, cluster):
    one_runs_and_one_waits(run, cluster)
    run.process.send_signal(signal.SIGTERM)
    status, text = run.end(400)
    assert status != 0, text
    assert cluster.queue() == []
    assert len(run.jobs("COMPLETED")) == 2
    run.again()


def test_a_killed_run_leaves_its_jobs_and_the_same_command_goes_on(run, cluster):
    one_runs_and_one_waits(run, cluster)
    run.process.kill()
    run.process.wait()
    assert len(run.jobs("RUNNING", "PENDING")) == 2
    cluster.bring_back("node2")  # so that old jobs and new ones meet
    run.again()
