"""How long the rest of a run takes: what its jobs take, by those that have finished, over how many run at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

from .state import Job, Key, Run

GATHERING = "all"  # the rule that runs nothing
LEAST_WINDOW = 600  # seconds over which is averaged how many jobs run at a time


@dataclass(frozen=True)
class Estimate:
    """Seconds to go; how many finished jobs of this run and of earlier ones say so; and what none of them was."""

    seconds: float
    now: int
    earlier: int
    unseen: tuple[str, ...]  # rules that ask a model, of which none has finished yet


def estimate(run: Run, now: float) -> Estimate | None:
    """None where nothing can be said: some jobs ask a model, or some do not, and none of these has finished yet."""
    means = means_of(run.history) | means_of(run.samples)  # what was seen in this run counts for more
    held_up = run.held_up
    left = [run.jobs[jobid] for jobid in run.waiting if jobid not in held_up and run.jobs[jobid].rule != GATHERING]
    active = [run.jobs[jobid] for jobid in run.running]
    if not all(job.key[:1] in means for job in left + active):
        return None
    rest = [max(0.0, _expected(job, means) - _gone(job, now)) for job in active]
    seconds = (sum(rest) + sum(_expected(job, means) for job in left)) / concurrency(run, now)
    unseen = dict.fromkeys(job.rule for job in left + active if job.asks and job.key[:2] not in means)
    return Estimate(max([seconds, *rest]), len(run.samples), len(run.history), tuple(unseen))


def means_of(samples: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Beginning of a key → mean of all samples that begin so."""
    sums: dict[Key, list[float]] = {}
    for key, seconds in samples:
        for length in range(1, len(key) + 1):
            sums.setdefault(key[:length], []).append(seconds)
    return {key: sum(values) / len(values) for key, values in sums.items()}


def _expected(job: Job, means: dict[Key, float]) -> float:
    """By jobs of the same rule, model and probe, else of rule and model, else of the rule, else of its kind."""
    return next(means[job.key[:length]] for length in range(len(job.key), 0, -1) if job.key[:length] in means)


def _gone(job: Job, now: float) -> float:
    return 0.0 if job.begun is None else now - job.begun


def concurrency(run: Run, now: float) -> float:
    """How many jobs have run at the same time lately, on average; moments without any are left out."""
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
