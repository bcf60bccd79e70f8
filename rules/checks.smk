# What a study asks for is looked at before any job starts; the processes that run single jobs need not look again.
from vlmflow.places import check_places


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
            for key, asked in probe.layers_asked.items():
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
