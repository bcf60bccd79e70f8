# What a study asks for is looked at before any job starts; the processes that run single jobs need not look again.
from vlmflow.study.paths import check_places


def is_made(path):
    """Whether a rule makes this file, which then need not be there yet."""
    return any(rule.is_producer(path) for rule in workflow.rules)


def check_gpus():
    """Whether every model gets as many GPUs as it takes, as `--resources gpu=...` or the profile says, if at all."""
    limit = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else None
    for name, model in study.models.items():
        if limit is not None and model.gpus > limit:
            raise WorkflowError(
                f"models.{name}.gpus: a job of this model takes {model.gpus} GPUs, but no more than {limit} are to be "
                f"used at a time; run with --resources gpu={model.gpus}, or more"
            )


def check_layers():
    """Whether every model has as many layers as its probes ask for."""
    for name, probe in study.probes.items():
        for model in study.models_of(name):
            layers = known_layers(study.models[model])
            for key, asked in probe.layers_required.items():
                if layers is not None and asked > layers:
                    raise WorkflowError(
                        f"probes.{name}.{key}: {asked} is more than the {layers} layers of the model {model}; give at "
                        f"most {layers}, or name other models in probes.{name}.models"
                    )


if workflow.is_main_process:
    try:
        check_places(study, is_made)
    except StudyError as error:
        raise WorkflowError(str(error))
    check_gpus()
    check_layers()


# What is said when a run begins and when it ends.
from snakemake.logging import logger
from vlmflow.jobs import second_run as leaving_out
from vlmflow.jobs import plan as running
from vlmflow.jobs.job import failure_note
from vlmflow.tables import check_room
from vlmflow.errors import WriteError


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
