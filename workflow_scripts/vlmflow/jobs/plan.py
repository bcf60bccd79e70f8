"""The messages of a run: its plan, for the overview, and at its end where the report is, or which jobs failed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .job import failure
from .snakemake import JobGraph

SHOWN = 4  # jobs listed under each reason for which some failed


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
            "asks": "gpu" in job.rule.resources,
            "runs": job in run,
        }
        for job in jobs
    ]


def report_message(jobs: JobGraph, page: Path) -> str:
    """A line that says where the report is; empty where the run was to make something else."""
    written = any(job.rule.name == "write_report" for job in jobs) and page.is_file()
    return f"The report is {page} (opens offline, by a double click)." if written else ""


def remaining_jobs_message(jobs: JobGraph, failed: Iterable[Any]) -> str:
    """Lines that say which jobs failed, how many are done, and what to do."""
    of_this_run = jobs.of_this_run
    done = sum(jobs.is_finished(job) for job in of_this_run)
    names = _failures(failed)
    first = "put right what failed and " if names else ""
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
    """A line for each reason, and under it the jobs that failed for it."""
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
