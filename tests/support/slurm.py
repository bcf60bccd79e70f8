"""A real SLURM on this machine: two nodes of two GPUs, with all that it writes in one temporary folder.

GPUs are character devices without hardware behind them: the scheduler counts them, hands them out and sets
CUDA_VISIBLE_DEVICES.  Memory is enforced: a job that takes more than it asked for is killed.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel"]
NODES = ["node1", "node2"]
GPUS = 2  # of each node
GPU_TYPE = "a100"

# The scheduler looks often and gives up on a silent node soon; nodes may be declared larger than the machine is.
CONFIGURATION = """\
ClusterName=vlmflow
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/bin/prolog
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=6
KillWait=3
JobRequeue=0
MinJobAge=3600
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=16000 Gres=gpu:{kind}:{gpus}"
)

# Jobs drop SLURM_CONF before they call srun, which would then look for /etc/slurm.
SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""

# Before each of a job's programs: its environment is noted, a node's temporary files are its own, and there is no
# network behind it.
PROLOG = """\
#!/bin/sh
env -0 > {folder}/environments/$SLURM_JOB_ID
echo "export TMPDIR={folder}/tmp-$SLURMD_NODENAME"
echo "export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9"
"""


class Cluster:
    """Two nodes, a scheduler, and the tool that signs their messages; in `environment` SLURM's commands find them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": f"{folder}/slurm.conf",
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
        }
        self.daemons = {}

    def run(self, *command):
        """What one of SLURM's commands prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def answers(self):
        """Whether the scheduler is there."""
        command = ["scontrol", "ping"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode == 0 and "UP" in done.stdout

    def write(self):
        host, (port, *ports) = socket.gethostname().split(".")[0], free_ports(1 + len(NODES))
        nodes = "\n".join(
            NODE.format(name=name, host=host, port=each, kind=GPU_TYPE, gpus=GPUS)
            for name, each in zip(NODES, ports, strict=True)
        )
        text = CONFIGURATION.format(host=host, port=port, folder=self.folder, nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)
        for index in range(GPUS):  # character devices, since for plain files SLURM sets no CUDA_VISIBLE_DEVICES
            os.mknod(self.folder / f"gpu{index}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        gpus = f"NodeName={','.join(NODES)} Name=gpu Type={GPU_TYPE} File={self.folder}/gpu[0-{GPUS - 1}]\n"
        (self.folder / "gres.conf").write_text(gpus)
        for name in ("environments", *(f"tmp-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        self._program("srun", SRUN.format(folder=self.folder, srun=shutil.which("srun")))
        self._program("prolog", PROLOG.format(folder=self.folder))
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)

    def _program(self, name, text):
        program = self.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)

    def start(self):
        self.write()
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
        files = [f"--{name}={self.folder / file}" for name, file in names.items()]
        self._start("munged", "--foreground", "--force", *files, f"--seed-file={self.folder / 'munge.seed'}")
        until(lambda: (self.folder / "munge.socket").exists(), "munged", 20)
        self._start("slurmctld", "-D")
        until(self.answers, f"slurmctld, see {self.folder}/slurmctld.log", 60)
        for name in NODES:
            self.start_node(name)

    def _start(self, program, *arguments, name=None):
        name = name or program
        output = (self.folder / f"{name}.output").open("w")
        self.daemons[name] = subprocess.Popen(
            [program, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def start_node(self, name):
        self._start("slurmd", "-D", "-N", name, name=name)
        until(lambda: self.state(name) in ("idle", "mixed", "allocated"), f"{name}, which is {self.state(name)},", 60)

    def bring_back(self, name):
        """A node that was killed or drained."""
        if name not in self.daemons:
            self.start_node(name)
        if self.state(name).startswith("drain"):
            self.run("scontrol", "update", f"NodeName={name}", "State=RESUME")

    def state(self, node):
        return self.run("sinfo", "-h", "-n", node, "-o", "%T").split("\n")[0]

    def kill_node(self, name):
        """As when the power goes: its daemon and all processes of its jobs at once, without a word to anybody."""
        jobs = self.run("squeue", "-h", "-w", name, "-o", "%i").split()
        self.daemons.pop(name).kill()
        for process in psutil.process_iter():
            if belongs(process, name, jobs):
                process.kill()

    def jobs(self, name=None):
        """What the scheduler knows of each job, finished ones included: field → text."""
        jobs = [dict(field.partition("=")[::2] for field in line.split(" ")) for line in self._records()]
        return [job for job in jobs if name is None or job["JobName"] == name]

    def _records(self):
        lines = self.run("scontrol", "--oneliner", "--details", "show", "jobs").splitlines()
        return [line for line in lines if line.startswith("JobId=")]

    def environment_of(self, job):
        """The environment in which a job's programs were started."""
        lines = (self.folder / "environments" / job["JobId"]).read_text().split("\0")
        return dict(line.partition("=")[::2] for line in lines if line)

    def queue(self):
        """Numbers of the jobs that run or wait."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def cancel_all(self):
        if jobs := self.queue():
            self.run("scancel", *jobs)
            until(lambda: not self.queue(), "an empty queue", 60)

    def stop(self):
        """Jobs first, and the daemons whatever becomes of that."""
        try:
            if all(node in self.daemons for node in NODES):
                self.cancel_all()
        finally:
            for daemon in reversed(self.daemons.values()):
                stop(daemon)


def belongs(process, node, jobs):
    """Whether a process is one of a node's: of its jobs, or a step daemon, which wears the job's number as its name."""
    try:
        title = " ".join(process.cmdline())
        return process.environ().get("SLURMD_NODENAME") == node or any(
            title.startswith(f"slurmstepd: [{job}.") for job in jobs
        )
    except psutil.Error:
        return False


def stop(daemon):
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until(holds, what, seconds):
    """Wait until something holds.

    Raises:
        TimeoutError: it did not in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def missing():
    """Why there can be no cluster on this machine; empty if there can."""
    if os.geteuid() != 0:
        return "a SLURM of its own needs root"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "not installed: snakemake-executor-plugin-slurm (pip install -e '.[slurm]')"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"not installed: {', '.join(absent)} (munge, slurmctld, slurmd, slurm-client)" if absent else ""


@pytest.fixture(scope="session")
def cluster():
    """The cluster, for as long as the tests run."""
    if missing():
        pytest.skip(missing())
    # Not a folder of pytest's: sockets have short paths, and munge wants folders that all may enter.
    with tempfile.TemporaryDirectory(prefix="vlmflow-slurm-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder))
        try:
            try:
                cluster.start()
            except PermissionError as error:
                pytest.skip(f"root may not do here what a SLURM needs: {error}")
            yield cluster
        finally:
            cluster.stop()
