# What is said when a run begins and when it ends.
from snakemake.logging import logger
from vlmflow import leaving_out, running
from vlmflow.jobs import failure_note
from vlmflow.tables import WriteError, check_room


def say(text, **told):
    """To the terminal and to Snakemake's log; what is `told` is for the overview alone.

    Snakemake's inner parts are asked, which may change: what cannot be said is no reason to break off.
    """
    try:
        logger.info(text(), extra={name: value() for name, value in told.items()})
    except Exception as error:
        logger.debug(f"nothing to say: {error}")


def finish_the_rest():
    """Make the report of what can be had, where it was asked for and only models have failed."""
    if not leaving_out.is_command(sys.argv[0]) or "all" not in map(str, workflow.dag.targetrules):
        return
    try:
        left = leaving_out.to_leave_out(workflow.dag, workflow.scheduler.failed)
        if left and not all(is_left_out(left, *place) for place in PLACES):
            say(lambda: "\n".join(["All others are finished without these:", *leaving_out.told(left, study.models)]))
            leaving_out.run_without(left, sys.argv[1:])
    except Exception as error:
        logger.warning(f"The report of the others cannot be made now ({error}).")


onstart:
    # A disk that is full or read-only is told now, not after hours.
    try:
        check_room([f"{RESULTS}/index.html"])
    except WriteError as error:
        raise WorkflowError(str(error))
    for job in workflow.dag.needrun_jobs():
        for log in job.log:
            failure_note(log).unlink(missing_ok=True)  # of an earlier run
    say(str, planned_jobs=lambda: running.planned_jobs(workflow.dag))


onsuccess:
    say(lambda: running.where_the_report_is(workflow.dag, Path(RESULTS, "index.html")), run_has_ended=lambda: True)


onerror:
    say(lambda: running.what_is_left(workflow.dag, workflow.scheduler.failed), run_has_ended=lambda: True)
    if not LEFT_OUT:
        finish_the_rest()
