# What is said when a run begins and when it ends.
from snakemake.logging import logger
from vlmflow import running
from vlmflow.tables import WriteError, check_room


def say(text, **told):
    """To the terminal and to Snakemake's log; what is `told` is for the overview alone.

    Snakemake's inner parts are asked, which may change: what cannot be said is no reason to break off.
    """
    try:
        logger.info(text(), extra={name: value() for name, value in told.items()})
    except Exception as error:
        logger.debug(f"nothing to say: {error}")


onstart:
    # A disk that is full or read-only is told now, not after hours.
    try:
        check_room([f"{RESULTS}/index.html"])
    except WriteError as error:
        raise WorkflowError(str(error))
    say(str, planned_jobs=lambda: running.planned_jobs(workflow.dag))


onsuccess:
    say(lambda: running.where_the_report_is(workflow.dag, Path(RESULTS, "index.html")), run_has_ended=lambda: True)


onerror:
    say(lambda: running.what_is_left(workflow.dag, workflow.scheduler.failed), run_has_ended=lambda: True)
