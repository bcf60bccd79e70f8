"""The messages of a run: its plan, for the overview, and at its end the path of the report or the failed jobs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .job import failure
from .snakemake import JobGraph

SHOWN = 4  # maximum number of jobs listed under each reason


def planned_jobs(jobs: JobGraph) -> list[dict[str, Any]]:
    """Every job of the study: whether it runs, which jobs it waits for, and whether it needs a model."""
    run = set(jobs.to_run)
    return [
        {
            "jobid": jobs.number(job),
            "rule": job.rule.name,
            "wildcards": dict(job.wildcards_dict),
            "benchmark": None if job.benchmark is None else str(job.benchmark),
            "needs": [jobs.number(other) for other in jobs.needs(job) if other in run],
            "needs_model": "gpu" in job.rule.resources,
            "step": step_of(job),
            "runs": job in run,
        }
        for job in jobs
    ]


# Rule → name of the step; a probe's job has the name of the probe.
STEPS = {"load_model": "loading", "map_patches": "patches", "answer_questions": "answers"}


def step_of(job: Any) -> tuple[str, str] | None:
    """(model, step) of a job; None if it does not belong to a step of a model."""
    names = job.wildcards_dict
    if job.rule.name in STEPS:
        return names["model"], STEPS[job.rule.name]
    if job.rule.name == "run_probe":
        return names["model"], names["probe"]
    if job.rule.name == "answer_table":
        return job.params.name, f"table {names['table']}"
    return None


def report_message(jobs: JobGraph, page: Path) -> str:
    """A line with the path of the report; empty if the run does not make it."""
    written = any(job.rule.name == "write_report" for job in jobs) and page.is_file()
    return f"The report is {page}; a double click opens it, also offline." if written else ""


def remaining_jobs_message(jobs: JobGraph, failed: Iterable[Any]) -> str:
    """Lines that list the failed jobs, the number of finished jobs, and what to do."""
    of_this_run = jobs.of_this_run
    done = sum(jobs.is_finished(job) for job in of_this_run)
    names = _failures(failed)
    first = "correct the causes and " if names else ""
    return "\n".join(
        [
            *(["Failed, with the log of each job:", *names] if names else []),
            f"{done} of {len(of_this_run)} jobs are done and kept; to go on, {first}run the same command again.",
        ]
    )


def failure_of(job: Any) -> str:
    """The reason for which a job failed."""
    return (failure(job.log[0]) if job.log else None) or "the job ended without a message; its log may have the reason"


def _failures(failed: Iterable[Any]) -> list[str]:
    """A line for each reason, followed by the jobs that failed for this reason."""
    jobs: dict[str, list[str]] = {}
    for job in failed:
        jobs.setdefault(failure_of(job), []).append(
            f"    {' '.join((job.rule.name, *job.wildcards))}: {', '.join(job.log)}"
        )
    lines = []
    for why, names in sorted(jobs.items()):
        more = [f"    and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
        lines += [f"  {why}", *sorted(names)[:SHOWN], *more]
    return lines
