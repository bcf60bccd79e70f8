"""The state of a run of Snakemake: its jobs that are done, running, waiting and failed, with their times."""

import contextlib
import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Wildcards on which the duration of a rule's job depends; all tasks of one model and probe take about as long.
KEYS = ("model", "probe", "table", "figure")


Key = tuple[bool | str, ...]


@dataclass
class Job:
    """A job of the plan; times are seconds of any clock that only goes forward."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    benchmark: str | None = None
    needs: frozenset[int] = frozenset()  # ids of the jobs of this run that it waits for
    needs_model: bool = False  # such jobs take much longer than all others
    step: tuple[str, str] | None = None  # model, and what is done with it; the shards of a step are several jobs
    log: str | None = None
    submitted: float | None = None
    begun: float | None = None
    stamp: float | None = None  # time at which the log was last written, when the job was submitted

    @property
    def key(self) -> Key:
        """The facts on which its duration depends, the broadest first: whether it needs a model, rule, wildcards."""
        return (self.needs_model, self.rule, *(self.wildcards[name] for name in KEYS if name in self.wildcards))


class Run:
    """The jobs of a run by their state, updated by Snakemake's events."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.remote = False
        self.jobs: dict[int, Job] = {}
        self.total = 0
        self.waiting: dict[int, None] = {}
        self.running: dict[int, None] = {}  # in the order in which they were submitted
        self.done: dict[int, None] = {}
        self.failed: dict[int, None] = {}
        self.samples: list[tuple[Key, float]] = []  # (key, seconds) of finished jobs of this run
        self.history: list[tuple[Key, float]] = []  # the same of earlier runs
        self.changes: list[tuple[float, int]] = []  # (time, number of jobs that ran from then on)

    def expect(self, stats: Mapping[str, int]) -> None:
        """Set the number of jobs of each rule; jobs without wildcards stand for the real ones until these are known."""
        counts = {rule: count for rule, count in stats.items() if rule != "total"}
        names = [rule for rule, count in counts.items() for _ in range(count)]
        self.jobs = {-number: Job(rule) for number, rule in enumerate(names, 1)}
        self.waiting = dict.fromkeys(self.jobs)
        self.total = len(names)

    def plan(self, planned: Iterable[Mapping[str, Any]]) -> None:
        """Set the jobs of the plan, in the form that `vlmflow.jobs.run_messages.planned_jobs` returns."""
        known = {entry["jobid"]: (entry["runs"], _planned(entry)) for entry in planned}
        self.jobs = {jobid: job for jobid, (runs, job) in known.items() if runs}
        self.waiting = dict.fromkeys(self.jobs)
        self.total = len(self.jobs)
        measured = [(job.key, _measured(job.benchmark)) for _, job in known.values()]
        self.history = [(key, seconds) for key, seconds in measured if seconds is not None]

    def submit(self, jobid: int, rule: str, wildcards: Mapping[str, str], log: str | None, now: float) -> None:
        """Record that a job was submitted, for the first time or once more after a failure."""
        if jobid not in self.jobs:
            self._replace_stand_in(jobid, rule, wildcards)
        job = self.jobs[jobid]
        job.log, job.submitted, job.begun, job.stamp = log, now, None if self.remote else now, stamp(log)
        for state in (self.waiting, self.failed, self.done):
            state.pop(jobid, None)
        self.running[jobid] = None
        self._note(now)

    def _replace_stand_in(self, jobid: int, rule: str, wildcards: Mapping[str, str]) -> None:
        """Replace a job of which only the rule was known by this job, or add it."""
        stand_in = next((each for each in self.waiting if each < 0 and self.jobs[each].rule == rule), None)
        if stand_in is None:
            self.total += 1
        else:
            del self.jobs[stand_in], self.waiting[stand_in]
        self.jobs[jobid] = Job(rule, dict(wildcards))

    def finish(self, jobid: int, now: float) -> None:
        """Record that a job succeeded."""
        if jobid not in self.running:
            return
        del self.running[jobid]
        job = self.jobs[jobid]
        began = job.begun if job.begun is not None else job.submitted
        if began is not None:
            self.samples.append((job.key, now - began))
        self.done[jobid] = None
        self._note(now)

    def fail(self, jobid: int, now: float) -> None:
        """Record that a job failed; it may be tried again."""
        self.running.pop(jobid, None)
        if jobid in self.jobs:
            self.failed[jobid] = None
        self._note(now)

    def update(self, now: float) -> None:
        """Record which jobs have left a cluster's queue: those whose log has been opened."""
        for jobid in self.running:
            job = self.jobs[jobid]
            if job.begun is None and stamp(job.log) != job.stamp:
                job.begun = now
                self._note(now)

    @property
    def queued(self) -> list[int]:
        """Jobs in a cluster's queue."""
        return [jobid for jobid in self.running if self.jobs[jobid].begun is None]

    @property
    def blocked(self) -> set[int]:
        """Jobs that cannot run because a job that they need has failed."""
        lost = set(self.failed)
        waiting = set(self.waiting)
        while more := {jobid for jobid in waiting - lost if self.jobs[jobid].needs & lost}:
            lost |= more
        return lost - set(self.failed)

    def _note(self, now: float) -> None:
        self.changes.append((now, len(self.running) - len(self.queued)))


def _planned(entry: Mapping[str, Any]) -> Job:
    needs = frozenset(entry["needs"])
    step = entry.get("step")
    return Job(
        entry["rule"],
        dict(entry["wildcards"]),
        entry["benchmark"],
        needs,
        needs_model=entry["needs_model"],
        step=None if step is None else tuple(step),
    )


def _measured(benchmark: str | None) -> float | None:
    """Seconds that the job took in an earlier run; None if they are unknown."""
    if benchmark is None:
        return None
    with (
        contextlib.suppress(OSError, KeyError, ValueError, StopIteration),
        Path(benchmark).open(newline="", encoding="utf-8") as file,
    ):
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    return None


def stamp(log: str | None) -> float | None:
    """The time at which the file was last written; None if there is no file."""
    if log is None:
        return None
    with contextlib.suppress(OSError):
        return Path(log).stat().st_mtime
    return None
