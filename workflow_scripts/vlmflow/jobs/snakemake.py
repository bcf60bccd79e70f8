"""Facts from Snakemake's internal objects, and a correction of them; no other module knows their attributes.

They are not a public interface and may change: tests/jobs/test_snakemake.py checks them with the version in
constraints.txt, the oldest that the Snakefile accepts.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake.logging import logger
from snakemake.persistence import PersistenceBase

from vlmflow.errors import FolderError, StudyError, WriteError

DEFAULT_STUDY = "config.yaml"


@contextlib.contextmanager
def explained_by_snakemake() -> Iterator[None]:
    """Raise errors that a user can correct as Snakemake's own errors, which it prints without a traceback."""
    try:
        yield
    except (FolderError, StudyError, WriteError) as error:
        raise WorkflowError(str(error)) from None


class Invocation:
    """One call of Snakemake, in the process that reads the Snakefile.

    Args:
        workflow: Snakemake's global of this name.
    """

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        self.home = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
        self.is_module = not workflow.modifier.is_main_snakefile()

    # --- the command ---

    @property
    def wants_default_study(self) -> bool:
        """Whether no study file was given, neither on the command line nor by a workflow that imports this one."""
        return not self.is_module and not self._workflow.overwrite_configfiles

    @property
    def study_files(self) -> list[str]:
        """The files from which the study was read; those of an importing workflow may hold more than the study."""
        given = list(map(str, self._workflow.overwrite_configfiles or ()))
        if self.is_module:
            return [*map(str, self._workflow.configfiles), *given]
        return given or [DEFAULT_STUDY]

    @property
    def is_main_process(self) -> bool:
        """Whether this process plans the study; other processes run single jobs of it."""
        return bool(self._workflow.is_main_process)

    @property
    def runs_jobs(self) -> bool:
        """Whether this process runs the study and does not only plan or list it; known once jobs are planned."""
        workflow = self._workflow
        return bool(self.is_main_process and workflow.executor_plugin and not (workflow.dryrun or workflow.touch))

    @property
    def makes_zipped_report(self) -> bool:
        """Whether `--report` asks for a `.zip`, which can hold folders; Snakemake does not tell its workflows."""
        words = sys.argv[1:]
        return any(word.startswith("--report") for word in words) and any(word.endswith(".zip") for word in words)

    @property
    def is_local(self) -> bool:
        """Whether jobs run on this machine."""
        return bool(self._workflow.local_exec)

    @property
    def gpu_limit(self) -> int | None:
        """GPUs that may be used at a time, as `--resources gpu=…` or a profile says; None without a limit."""
        resources = self._workflow.global_resources
        return resources["gpu"].value if "gpu" in resources else None

    def default_resource(self, name: str) -> str | None:
        """A setting of the profile's `default-resources`; None where there is none."""
        setting = (self._workflow.resource_settings.default_resources or {}).get(name)
        # For a missing setting, Snakemake may return one without a value.
        return None if setting is None or setting.raw is None else str(setting.raw).strip("'\"")

    def makes(self, path: str) -> bool:
        """Whether a rule makes this file."""
        return any(rule.is_producer(path) for rule in self._workflow.rules)

    # --- its jobs ---

    @property
    def jobs(self) -> "JobGraph":
        """The jobs of this call, once they are planned."""
        return JobGraph(self._workflow.dag)

    @property
    def failed_jobs(self) -> list[Any]:
        """Jobs that have failed, in no particular order."""
        return list(self._workflow.scheduler.failed)

    @property
    def arguments(self) -> list[str] | None:
        """The command's arguments; None where Snakemake was not started as a command."""
        return sys.argv[1:] if is_command(sys.argv[0]) else None


def evaluate_params_at_start() -> None:
    """Record a job's params as they are when the job starts.

    Params that depend on another job's files may be unknown when jobs are planned. Snakemake forgets such params before
    a job starts, but it records copies that it does not forget: the job's own, if the job runs on a cluster, and one in
    a cache, if an earlier run had made the same outputs. The next run would compare the known params with the recorded
    unknown ones, and run the job once more.
    """
    forget = Job.reset_params_and_resources
    if getattr(forget, "evaluates", False):
        return

    def forget_and_evaluate(job: Job) -> None:
        forget(job)
        _ = job.params
        PersistenceBase._params.cache_clear()

    forget_and_evaluate.evaluates = True  # type: ignore[attr-defined]
    Job.reset_params_and_resources = forget_and_evaluate


class JobGraph:
    """Snakemake's graph of jobs; a job has `rule.name`, `wildcards_dict`, `input`, `params`, `log` and `benchmark`."""

    def __init__(self, dag: Any) -> None:
        self._dag = dag

    def __iter__(self) -> Iterator[Any]:
        """All jobs of the study, including those whose files exist already."""
        return iter(self._dag.jobs)

    @property
    def to_run(self) -> list[Any]:
        """Jobs that have yet to run."""
        return list(self._dag.needrun_jobs())

    @property
    def of_this_run(self) -> list[Any]:
        """Jobs that had to run when the run began."""
        return list(self._dag.needrun_jobs(exclude_finished=False))

    @property
    def unfinished(self) -> list[Any]:
        """Jobs of this run that are not done, failed ones included."""
        return [job for job in self.of_this_run if not self.is_finished(job)]

    def is_finished(self, job: Any) -> bool:
        """Whether a job is done."""
        return bool(self._dag.finished(job))

    def number(self, job: Any) -> int:
        """A job's id, as Snakemake's messages have it."""
        return int(self._dag.jobid(job))

    def needs(self, job: Any) -> list[Any]:
        """The jobs whose files a job needs."""
        return list(self._dag.dependencies[job])

    def with_dependents(self, job: Any) -> list[Any]:
        """A job, and all jobs that need it, directly or not."""
        return list(self._dag.bfs(self._dag.depending, job))

    def is_target(self, rule: str) -> bool:
        """Whether a rule is a target of this call."""
        return rule in map(str, self._dag.targetrules)


def inform(text: Callable[[], str], **facts: Callable[[], Any]) -> None:
    """Write a text to the terminal and to Snakemake's log; the facts are for the overview only.

    Both are read from Snakemake's internal objects; if that raises an error, the run continues without the message.
    """
    try:
        logger.info(text(), extra={name: fact() for name, fact in facts.items()})
    except Exception as error:
        logger.debug(f"no message: {error}")


def warn(text: str) -> None:
    """Write a warning to the terminal and to Snakemake's log."""
    logger.warning(text)


def is_command(program: str) -> bool:
    """Whether a program of this path is Snakemake started as a command, whose arguments are known."""
    return Path(program).stem == "snakemake" or Path(program).parts[-2:] == ("snakemake", "__main__.py")
