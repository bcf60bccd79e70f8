"""The remaining time of a run: the expected durations of its jobs, divided by the number that run at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

from .state import Job, Key, Run

GATHERING = "all"  # the rule that runs nothing
LEAST_WINDOW = 600  # seconds over which the number of jobs at a time is averaged, at least


@dataclass(frozen=True)
class Estimate:
    """The remaining time, and the jobs on which it is based.

    Attributes:
        seconds: the remaining time.
        now, earlier: numbers of finished jobs, in this run and in earlier ones.
        unfinished: rules with a model of which no job has finished yet.
    """

    seconds: float
    now: int
    earlier: int
    unfinished: tuple[str, ...]


def estimate(run: Run, now: float) -> Estimate | None:
    """The remaining time; None while jobs with (or without) a model remain and none of that kind has finished."""
    means = means_of(run.history) | means_of(run.samples)  # this run's durations replace those of earlier ones
    blocked = run.blocked
    left = [run.jobs[jobid] for jobid in run.waiting if jobid not in blocked and run.jobs[jobid].rule != GATHERING]
    active = [run.jobs[jobid] for jobid in run.running]
    if not all(job.key[:1] in means for job in left + active):
        return None
    rest = [max(0.0, _expected(job, means) - _elapsed(job, now)) for job in active]
    seconds = (sum(rest) + sum(_expected(job, means) for job in left)) / concurrency(run, now)
    unfinished = dict.fromkeys(job.rule for job in left + active if job.needs_model and job.key[:2] not in means)
    return Estimate(max([seconds, *rest]), len(run.samples), len(run.history), tuple(unfinished))


def means_of(samples: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Beginning of a key → mean seconds of all samples whose keys have this beginning."""
    sums: dict[Key, list[float]] = {}
    for key, seconds in samples:
        for length in range(1, len(key) + 1):
            sums.setdefault(key[:length], []).append(seconds)
    return {key: sum(values) / len(values) for key, values in sums.items()}


def _expected(job: Job, means: dict[Key, float]) -> float:
    """Mean seconds of jobs with the same rule, model and probe, else rule and model, else rule, else kind."""
    return next(means[job.key[:length]] for length in range(len(job.key), 0, -1) if job.key[:length] in means)


def _elapsed(job: Job, now: float) -> float:
    return 0.0 if job.begun is None else now - job.begun


def concurrency(run: Run, now: float) -> float:
    """Mean number of jobs that ran at the same time lately, without the times at which none ran."""
    since = now - max(LEAST_WINDOW, (now - run.start) / 4)
    area = busy = 0.0
    end = now
    for time, count in reversed(run.changes):
        span = end - max(time, since)
        if count and span > 0:
            area += count * span
            busy += span
        if time <= since:
            break
        end = time
    return max(1.0, area / busy) if busy else 1.0
