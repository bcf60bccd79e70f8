# Functions and lists that several rules share.
import os
import re
from dataclasses import asdict

from snakemake.logging import logger
from vlmflow.data.synthetic import FOLDER as SCENES
from vlmflow.data.winoground import FOLDER as WINOGROUND
from vlmflow.jobs.requests import ResourceRequests
from vlmflow.jobs.second_run import is_left_out, read_left_out
from vlmflow.models.hub_cache import forget_if_gone

# Jobs read models from the disk; only the rule `fetch_model` connects to the hub.
os.environ.update(HF_HUB_OFFLINE="1")

MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}

# Measurements that failed in a first run; this run finishes all others.
LEFT_OUT = read_left_out()

IMAGE_MODELS = [name for name, model in study.models.items() if model.reads == "image"]

# Every model and task that a probe needs, in the order of the study file; a model is asked no other questions.
MODEL_TASKS = [
    (model, task)
    for model in study.models
    for task in study.tasks
    if not is_left_out(LEFT_OUT, model, task)
    and any(model in study.models_of(probe) and task in study.tasks_of(probe) for probe in study.probes)
]
IMAGE_MODEL_TASKS = [(model, task) for model, task in MODEL_TASKS if model in IMAGE_MODELS]


def get_wildcard_pattern(names):
    """A wildcard's pattern, which matches these names only."""
    return "|".join(map(re.escape, names)) or "none"


def get_paths(model_tasks, pattern):
    """A path for each model and task, in their order."""
    return [f"{RESULTS}/{pattern.format(model=model, task=task)}" for model, task in model_tasks]


def get_model_tasks(probe):
    """Model and task of each table of a probe."""
    model_tasks = [(model, task) for model in study.models_of(probe) for task in study.tasks_of(probe)]
    return [(model, task) for model, task in model_tasks if not is_left_out(LEFT_OUT, model, task, probe)]


def get_drawn_models(figure):
    """The models of a figure, without those for which there is nothing to draw."""
    return list(dict.fromkeys(model for model, _ in get_model_tasks(study.figures[figure].probe)))


def get_figure_tasks(wildcards):
    """The tasks of a model's figure."""
    model_tasks = get_model_tasks(study.figures[wildcards.figure].probe)
    return [task for model, task in model_tasks if model == wildcards.model]


def get_model(wildcards):
    """The model of a job; for a job of a table, the model of that table."""
    name = wildcards.model if "model" in wildcards.keys() else study.tables[wildcards.table].model
    return study.models[name]


def forget_missing_files(note):
    """Delete a model's note if files of it are missing in the hub's cache, so that it is fetched again."""
    if invocation.runs_jobs and (gone := forget_if_gone(Path(note))):
        logger.warning(
            f"{note}: {', '.join(gone)} is gone from the hub's cache; the model is fetched again if a job needs it."
        )


def get_model_files(wildcards):
    """The files of a model, so that a change of the model in a folder is noticed; for a hub id, the note of what was
    fetched."""
    model = get_model(wildcards)
    template = [model.template] if model.template.endswith(".jinja") else []
    if model.folder is None:
        forget_missing_files(model.fetched)
        return [model.fetched, *template]
    return sorted(str(file) for file in model.folder.iterdir() if file.suffix in MODEL_ENDINGS) + template


def get_processor_settings(wildcards):
    """The settings on which a model's patch maps depend, besides its files."""
    model = get_model(wildcards)
    return model.model_dump(mode="json", include={"path", "template", "fit"}) | {"fetched": model.fetched}


def get_model_settings(wildcards):
    """The settings on which a model's answers depend, besides its files."""
    model = get_model(wildcards)
    return get_processor_settings(wildcards) | model.model_dump(mode="json", include={"dtype", "instruction", "reads"})


def get_chosen_questions(wildcards):
    """The sample from the answers of the model that `sample.answered_by` names; none for that model itself."""
    chooser = study.sample.answered_by
    others = chooser is not None and wildcards.model != chooser
    return [f"{RESULTS}/{chooser}/selected/{wildcards.task}.parquet"] if others else []


def get_patches(wildcards):
    """The patch map of a model that reads images."""
    return [f"{RESULTS}/{wildcards.model}/patches/{wildcards.task}.parquet"] if wildcards.model in IMAGE_MODELS else []


def get_sink_norms(wildcards):
    """The norms that define a probe's attention sinks, if it needs them."""
    norms = study.probes[wildcards.probe].norms_probe
    return [f"{RESULTS}/{wildcards.model}/{norms}/{wildcards.task}.parquet"] if norms is not None else []


def get_probe_settings(wildcards):
    """The settings on which a probe's rows depend, besides the questions; not its other models and tasks."""
    return study.probes[wildcards.probe].model_dump(mode="json", exclude={"models", "tasks"})


def get_probe_seed(wildcards):
    """The seed of a probe's random choices; None if its rows do not depend on it."""
    return study.sample.seed if study.probes[wildcards.probe].uses_seed else None


# What rules need to know about datasets; each dataset knows its own files.

# Targets of `rule all`, so that deleting one is enough to request access again.
ACCESS_FILES = [f"{folder}/access.json" for folder in study.gated]

# Tasks with questions of their own.
OWN_TASKS = [name for name, task in study.tasks.items() if task.dataset is not None]


def get_image_source(dataset):
    """The folder of a dataset's images, and the source of missing ones."""
    return asdict(dataset.image_source())


def get_image_folder(dataset):
    """A folder of images that must exist before the job; none if the job fetches the images."""
    return dataset.image_source().needed


REQUESTED_AGAIN = set()


def late_images(pattern, get_dataset):
    """The function of an input: the note of images that the table's job was refused and that came later, if any.

    A job succeeds even if its server sent something else in place of some images, so that Snakemake has no reason to
    run it again. These images are therefore requested once more when the next run is planned. The job and all jobs
    that depend on it run again only if one of them comes. A param that differs after each refusal would repeat all
    measurements in every run because of an image that its server never repairs.
    """

    def note(wildcards):
        table = Path(RESULTS, pattern.format(**wildcards))
        came = table.with_suffix(".came.txt")
        if invocation.runs_jobs:
            request_again_once(table.with_suffix(".refused.json"), came, get_dataset(wildcards))
        return [str(came)] if came.is_file() else []

    return note


def request_again_once(note, came, dataset):
    """Request refused images again, once per run, since Snakemake may call the function of an input several times."""
    if note in REQUESTED_AGAIN or not note.is_file():
        return
    REQUESTED_AGAIN.add(note)
    from vlmflow.data.fetch.images import ask_again

    logger.warning(ask_again(note, came, dataset.image_source()))


def get_task_dataset(wildcards):
    """The dataset from which a task takes its questions."""
    return study.dataset_of_task(wildcards.task)


def get_table_dataset(wildcards):
    """The dataset whose questions are asked for an accuracy table."""
    return study.dataset_of_table(wildcards.table)


def get_task_questions(wildcards):
    """The table of questions from which a task takes its own."""
    own = wildcards.task in OWN_TASKS
    return f"{RESULTS}/questions/{wildcards.task}.parquet" if own else f"{RESULTS}/questions.parquet"


# Functions: the resources that jobs request from a cluster, more with every attempt. Local runs ignore them.


def scaled_by_attempt(amount):
    """An amount of a resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


# Requests for jobs with a model; the library decides.
requests = ResourceRequests(invocation)


def get_model_memory(wildcards, attempt):
    """Memory of a job with a model, in megabytes."""
    return requests.memory(get_model(wildcards), attempt)


def get_answering_runtime(wildcards, input, attempt):
    """Minutes of asking all questions of a task, or those of a shard."""
    shards = int(wildcards.scatteritem.split("-of-")[1]) if "scatteritem" in wildcards.keys() else 1
    return requests.answering(get_model(wildcards), input.questions, shards, attempt)


def get_probing_runtime(wildcards, input, attempt):
    """Minutes of a probe."""
    probe = study.probes[wildcards.probe]
    return requests.probing(get_model(wildcards), probe, input.selected, input.answers, attempt)


def get_gpus(wildcards):
    """Number of GPUs of a model's jobs."""
    return requests.gpus(get_model(wildcards))


def get_partition(wildcards):
    """The partition of a model's jobs on a cluster; None elsewhere."""
    return requests.partition(get_model(wildcards))


def get_gpu_type(wildcards):
    """The type of the GPUs of a model's jobs on a cluster; None elsewhere."""
    return requests.gpu_type(get_model(wildcards))


# Inputs of figures besides the summary of their probe, and how tables are shown.

CURVE_FEATURE_TABLES = study.tables_of("curve-features")
# The tables that can be shown: their measurements have not failed.
FAILED_TABLES = [each["table"] for each in LEFT_OUT if "table" in each]
SHOWN_TABLES = [name for name in study.tables if name not in FAILED_TABLES]
TASKS_TABLES = study.tables_of("tasks")


# How every table is shown by `snakemake --report report.html`.
TABLE_PAGE = report(
    f"{RESULTS}/tables/{{table}}.html",
    caption="../workflow_scripts/captions/table.rst",
    category="Tables",
    labels={"table": "{table}"},
)

# Probes whose curves have features: phases or knees.
CURVE_FEATURE_PROBES = [name for name, probe in study.probes.items() if probe.features is not None]


def get_figure_probe(wildcards):
    """The probe of a figure."""
    return study.figures[wildcards.figure].probe


def get_figure_curve_features(wildcards):
    """The table of phases or knees, if the figure shows them."""
    figure = study.figures[wildcards.figure]
    return [f"{RESULTS}/summary/{figure.probe}.curve-features.parquet"] if figure.curve_features_shown else []


def get_example_files(wildcards, pattern):
    """A file for each task if the figure shows examples; none otherwise."""
    figure = study.figures[wildcards.figure]
    if not figure.examples_per_task:
        return []
    names = {"model": wildcards.model, "probe": figure.probe, "figure": wildcards.figure}
    return expand(f"{RESULTS}/{pattern}", task=get_figure_tasks(wildcards), **names)
