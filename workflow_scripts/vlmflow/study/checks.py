"""Checks of a study against its files, its models and this machine, made before any job starts."""

from collections.abc import Callable, Iterator

from vlmflow.errors import StudyError

from .model_facts import layers_of
from .paths import check_files
from .study import Study


def check_study(study: Study, is_made: Callable[[str], bool], gpu_limit: int | None = None) -> None:
    """Check that the files that a study names exist, and that its models have enough layers and GPUs.

    Args:
        study: the study, as read.
        is_made: whether a rule makes the file with this path; such a file need not exist yet.
        gpu_limit: number of GPUs that may be used at a time; None without a limit.

    Raises:
        StudyError: with a line for each key that is wrong.
    """
    check_files(study, is_made)
    problems = [*gpu_problems(study, gpu_limit), *layer_problems(study)]
    if problems:
        raise StudyError("\n".join(problems))


def gpu_problems(study: Study, limit: int | None) -> Iterator[str]:
    """A line for each model that needs more GPUs than may be used at a time."""
    for name, model in study.models.items():
        if limit is not None and model.gpus > limit:
            yield (
                f"models.{name}.gpus: a job of this model needs {model.gpus} GPUs, but at most {limit} may be used "
                f"at a time; run with --resources gpu={model.gpus}, or more"
            )


def layer_problems(study: Study) -> Iterator[str]:
    """A line for each model that has fewer layers than a probe needs."""
    for name, probe in study.probes.items():
        for model in study.models_of(name):
            layers = layers_of(study.models[model])
            for key, needed in probe.layers_required.items():
                if layers is not None and needed > layers:
                    wrong, most = probe.too_deep(key, layers)
                    yield (
                        f"probes.{name}.{key}: {wrong} of the model {model}; give at most {most}, or name other "
                        f"models in probes.{name}.models"
                    )
