"""What is said of a run of the workflow: its plan, for the overview, and in the end where the report is or what failed.

Asks Snakemake's own objects, a `DAG` and its `Job`s.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .job import failure

SHOWN = 4  # jobs under each reason for which some failed


def planned_jobs(dag: Any) -> list[dict[str, Any]]:
    """Every job of the study: whether it runs, what it waits for, and whether it asks a model."""
    run = set(dag.needrun_jobs())
    return [
        {
            "jobid": dag.jobid(job),
            "rule": job.rule.name,
            "wildcards": dict(job.wildcards_dict),
            "benchmark": None if job.benchmark is None else str(job.benchmark),
            "needs": [dag.jobid(other) for other in dag.dependencies[job] if other in run],
            "asks": "gpu" in job.rule.resources,
            "runs": job in run,
        }
        for job in dag.jobs
    ]


def where_the_report_is(dag: Any, page: Path) -> str:
    """Empty where something else was asked for."""
    written = any(job.rule.name == "write_report" for job in dag.jobs) and page.is_file()
    return f"The report is {page} (opens offline, by a double click)." if written else ""


def what_is_left(dag: Any, failed: Iterable[Any]) -> str:
    """Which jobs failed, how many are done, and what to do."""
    jobs = list(dag.needrun_jobs(exclude_finished=False))
    done = sum(dag.finished(job) for job in jobs)
    names = _failures(failed)
    first = "put right what failed and " if names else ""
    return "\n".join(
        [
            *(["Failed, with the log of each job:", *names] if names else []),
            f"{done} of {len(jobs)} jobs are done and kept; to go on, {first}run the same command again.",
        ]
    )


def _failures(failed: Iterable[Any]) -> list[str]:
    """A line for each reason, and under it the jobs that failed for it."""
    jobs: dict[str, list[str]] = {}
    for job in failed:
        why = (failure(job.log[0]) if job.log else None) or "ended without a word"
        jobs.setdefault(why, []).append(f"    {' '.join((job.rule.name, *job.wildcards))}: {', '.join(job.log)}")
    lines = []
    for why, names in sorted(jobs.items()):
        more = [f"    and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
        lines += [f"  {why}", *sorted(names)[:SHOWN], *more]
    return lines
