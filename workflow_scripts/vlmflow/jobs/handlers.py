"""The actions when a run of the workflow starts, when it has succeeded, and when jobs have failed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmflow.tables import check_writable

from .job import failure_note
from .run_messages import planned_jobs, remaining_jobs_message, report_message
from .second_run import find_left_out, is_left_out, read_left_out, reason_lines, run_without
from .snakemake import Invocation, explained_by_snakemake, inform, warn


def start(invocation: Invocation, page: str) -> None:
    """Check that the results can be written, delete the error notes of earlier runs, and give the overview the plan.

    Raises:
        WorkflowError: the disk is full or read-only, which would otherwise stop the run only after hours.
    """
    with explained_by_snakemake():
        check_writable([page])
    for job in invocation.jobs.to_run:
        for log in job.log:
            failure_note(log).unlink(missing_ok=True)
    inform(str, planned_jobs=lambda: planned_jobs(invocation.jobs))


def succeed(invocation: Invocation, page: str) -> None:
    """Report where the page is."""
    inform(lambda: report_message(invocation.jobs, Path(page)), run_has_ended=lambda: True)


def fail(invocation: Invocation, models: Mapping[str, Any]) -> None:
    """List the failed jobs, and make the report of all models that have not failed."""
    inform(lambda: remaining_jobs_message(invocation.jobs, invocation.failed_jobs), run_has_ended=lambda: True)
    if not read_left_out():
        try:
            _finish_others(invocation, models)
        except Exception as error:
            warn(f"The report of the models that have not failed cannot be made now ({error}).")


def _finish_others(invocation: Invocation, models: Mapping[str, Any]) -> None:
    """Run the same command without the failed measurements, if the report is its target and only models failed."""
    if invocation.arguments is None or not invocation.jobs.is_target("all"):
        return
    left_out = find_left_out(invocation.jobs, invocation.failed_jobs)
    if left_out and not all(is_left_out(left_out, model) for model in models):
        heading = "The rest of the study is finished without the failed measurements of these models:"
        inform(lambda: "\n".join([heading, *reason_lines(left_out, models)]))
        run_without(left_out, invocation.arguments)
