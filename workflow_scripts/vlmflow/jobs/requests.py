"""The resources that jobs with a model request: memory, time, GPUs, and where a cluster runs them.

Local runs ignore memory and time.  Each amount grows with the attempt, up to the cluster's maximum in the profile.
"""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from vlmflow.errors import DeviceError
from vlmflow.probes import Probe
from vlmflow.probes.cost import Work
from vlmflow.study.model_facts import size_of
from vlmflow.study.models import Model

from . import estimates
from .gpu_lease import visible_gpus
from .snakemake import Invocation


class ResourceRequests:
    """The requests of one call of Snakemake.

    Args:
        invocation: the call, with the settings of its profile.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation

    def memory(self, model: Model, attempt: int, numbers: int = 0) -> int:
        """Megabytes of a job with this model, whose rows hold so many numbers."""
        size, gpu = size_of(model), model.gpus > 0
        return self._limited(
            "most_mem_mb", estimates.megabytes(size, model.dtype, gpu=gpu, attempt=attempt, numbers=numbers)
        )

    def loading(self, model: Model, attempt: int) -> int:
        """Minutes of loading the model."""
        return self._minutes(model, Work(0, 0), 0, attempt)

    def answering(self, model: Model, questions: str | Iterable[str], attempt: int) -> int:
        """Minutes of asking a shard of the questions of these tables."""
        files = [questions] if isinstance(questions, str) else questions
        return self._minutes(model, estimates.answering(), sum(map(count_rows, files)) // model.shards + 1, attempt)

    def probing(
        self, model: Model, probe: Probe, tasks: Sequence[str], selected: str, answers: Iterable[str], attempt: int
    ) -> int:
        """Minutes of a shard of a probe.

        Args:
            model: on which it runs.
            probe: as the study file has it.
            tasks: that it measures.
            selected: the table of the sample of correctly answered questions.
            answers: the tables of all questions that were asked, one per shard.
            attempt: of the job, from 1.
        """
        return self._minutes(model, *_shard_of_probe(model, probe, tasks, selected, answers), attempt)

    def probing_memory(
        self, model: Model, probe: Probe, tasks: Sequence[str], selected: str, answers: Iterable[str], attempt: int
    ) -> int:
        """Megabytes of a shard of a probe; see `probing`."""
        work, questions = _shard_of_probe(model, probe, tasks, selected, answers)
        return self.memory(model, attempt, work.numbers * questions)

    def gpus(self, model: Model) -> int:
        """Number of GPUs; 0 in place of 1 on a machine without GPUs, where several jobs may then run."""
        without = model.gpus == 1 and self.invocation.is_local and not find_gpus()
        return 0 if without else model.gpus

    def partition(self, model: Model) -> str | None:
        """The cluster's partition; jobs with GPUs and jobs without may have different ones."""
        own = self.invocation.default_resource("gpu_partition") if self.gpus(model) else None
        return own or self.invocation.default_resource("slurm_partition")

    def gpu_type(self, model: Model) -> str | None:
        """The type of the GPUs; None for jobs without GPUs, which would otherwise get one."""
        return self.invocation.default_resource("gpu_type") if self.gpus(model) else None

    def _minutes(self, model: Model, work: Work, questions: int, attempt: int) -> int:
        expected = estimates.seconds(work, size_of(model), questions, gpu=model.gpus > 0)
        return self._limited("most_runtime", estimates.minutes(expected, attempt))

    def _limited(self, name: str, amount: int) -> int:
        """An amount up to the cluster's maximum: above it a job would never start."""
        limit = self.invocation.default_resource(name)
        return amount if limit is None else min(amount, int(limit))


def _shard_of_probe(
    model: Model, probe: Probe, tasks: Sequence[str], selected: str, answers: Iterable[str]
) -> tuple[Work, int]:
    """(the work for one question, the number of questions in one shard of a probe)."""
    analysed = count_per_task([selected] if probe.answers_analysed == "correct" else answers)
    most = probe.questions or math.inf
    questions = int(sum(min(analysed.get(task, 0), most) for task in tasks))
    return probe.cost(size_of(model), questions // max(1, len(tasks))), questions // model.shards + 1


def count_rows(file: str) -> int:
    """The number of rows of a table.

    Raises:
        FileNotFoundError: it does not exist yet, as in a dry run; Snakemake handles this error, but not that of polars.
    """
    Path(file).stat()
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def count_per_task(files: Iterable[str]) -> dict[str, int]:
    """Task → number of rows, over all of these tables.

    Raises:
        FileNotFoundError: as for `count_rows`.
    """
    counts: Counter[str] = Counter()
    for file in files:
        Path(file).stat()
        counts.update(pl.read_parquet(file, columns=["task"])["task"].to_list())
    return counts


@functools.cache
def find_gpus() -> list[str]:
    """Names of this machine's GPUs."""
    try:
        return visible_gpus()
    except DeviceError:
        return ["one that does not answer"]  # the job will report the cause
