# Functions and lists that several rules share.
import functools
import os
import re
from dataclasses import asdict

import polars as pl

from snakemake.logging import logger
from vlmflow.data.synthetic import FOLDER as SCENES
from vlmflow.data.winoground import FOLDER as WINOGROUND
from vlmflow.errors import DeviceError
from vlmflow.jobs import estimates
from vlmflow.jobs.gpu_lease import visible_gpus
from vlmflow.jobs.second_run import is_left_out, read_left_out
from vlmflow.models.hub_cache import forget_if_gone
from vlmflow.study.model_facts import size_of

# Jobs read models from the disk; only `fetch_model` connects to the hub.
os.environ.update(HF_HUB_OFFLINE="1")

MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}

# Measurements that failed in a first run; this one finishes the rest.
LEFT_OUT = read_left_out()

IMAGE_MODELS = [name for name, model in study.models.items() if model.reads == "image"]

# Every model and task that some probe asks for, in the order of the study file; only these are asked at all.
MODEL_TASKS = [
    (model, task)
    for model in study.models
    for task in study.tasks
    if not is_left_out(LEFT_OUT, model, task)
    and any(model in study.models_of(probe) and task in study.tasks_of(probe) for probe in study.probes)
]
IMAGE_MODEL_TASKS = [(model, task) for model, task in MODEL_TASKS if model in IMAGE_MODELS]


def get_wildcard_pattern(names):
    """A wildcard's pattern."""
    return "|".join(map(re.escape, names)) or "none"


def get_paths(model_tasks, pattern):
    """A path for each model and task, in their order."""
    return [f"{RESULTS}/{pattern.format(model=model, task=task)}" for model, task in model_tasks]


def get_model_tasks(probe):
    """Model and task of each table of a probe."""
    model_tasks = [(model, task) for model in study.models_of(probe) for task in study.tasks_of(probe)]
    return [(model, task) for model, task in model_tasks if not is_left_out(LEFT_OUT, model, task, probe)]


def get_drawn_models(figure):
    """The models of a figure, but those of which there is nothing to draw."""
    return list(dict.fromkeys(model for model, _ in get_model_tasks(study.figures[figure].probe)))


def get_figure_tasks(wildcards):
    """The tasks of a model's figure."""
    model_tasks = get_model_tasks(study.figures[wildcards.figure].probe)
    return [task for model, task in model_tasks if model == wildcards.model]


def get_model(wildcards):
    """The model of a job, which of a table's jobs is the table's."""
    name = wildcards.model if "model" in wildcards.keys() else study.tables[wildcards.table].model
    return study.models[name]


def forget_missing_files(note):
    """Delete the note of a model of which files were taken out of the hub's cache: the job that asks fetches it again."""
    if invocation.runs_jobs and (gone := forget_if_gone(Path(note))):
        logger.warning(f"{note}: {', '.join(gone)} is gone from the hub's cache; jobs that need it fetch it again.")


def get_model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; for a hub id, the note of what was
    fetched."""
    model = get_model(wildcards)
    template = [model.template] if model.template.endswith(".jinja") else []
    if model.folder is None:
        forget_missing_files(model.fetched)
        return [model.fetched, *template]
    return sorted(str(file) for file in model.folder.iterdir() if file.suffix in MODEL_ENDINGS) + template


def get_processor_settings(wildcards):
    """What a model's patch maps depend on besides its files."""
    model = get_model(wildcards)
    return model.model_dump(mode="json", include={"path", "template", "fit"}) | {"fetched": model.fetched}


def get_model_settings(wildcards):
    """What a model's answers depend on besides its files."""
    model = get_model(wildcards)
    return get_processor_settings(wildcards) | model.model_dump(mode="json", include={"dtype", "instruction", "reads"})


def get_chosen_questions(wildcards):
    """What was drawn from the answers of the model that chooses for all; nothing for that model itself."""
    chooser = study.sample.answered_by
    others = chooser is not None and wildcards.model != chooser
    return [f"{RESULTS}/{chooser}/selected/{wildcards.task}.parquet"] if others else []


def get_patches(wildcards):
    """The patch map of a model that reads images."""
    return [f"{RESULTS}/{wildcards.model}/patches/{wildcards.task}.parquet"] if wildcards.model in IMAGE_MODELS else []


def get_sink_norms(wildcards):
    """The norms that tell a probe's attention sinks, where it asks for them."""
    norms = study.probes[wildcards.probe].norms_probe
    return [f"{RESULTS}/{wildcards.model}/{norms}/{wildcards.task}.parquet"] if norms is not None else []


def get_probe_settings(wildcards):
    """What a probe's rows depend on besides the questions: not on which models and tasks it is run too."""
    return study.probes[wildcards.probe].model_dump(mode="json", exclude={"models", "tasks"})


def get_probe_seed(wildcards):
    """The seed of a probe's draw; none where its rows do not depend on it."""
    return study.sample.seed if study.probes[wildcards.probe].uses_seed else None


# What the rules ask of datasets, each of which knows its own files.

# Requested by name, so that deleting one is enough to request access again.
ACCESS_FILES = [f"{folder}/access.json" for folder in study.gated]

# Tasks with questions of their own.
OWN_TASKS = [name for name, task in study.tasks.items() if task.dataset is not None]


def get_image_source(dataset):
    """Where a dataset's images lie, and from where missing ones are fetched."""
    return asdict(dataset.image_source())


def get_image_folder(dataset):
    """A folder of images that has to be there before the job; none where the job fetches them."""
    return dataset.image_source().needed


ASKED_AGAIN = set()


def came_later(pattern, get_dataset):
    """The function of an input: the note of the images that this table's job was refused and that came since, if any.

    A job succeeds although some of what its server sent is no image, so that Snakemake sees no reason to run it again.
    These images are therefore requested once more when the next run is planned. If one of them comes, the job and all
    that follows from it run again, and only then. A param that differs after each refusal would measure everything anew
    in every run because of an image that its server never repairs.
    """

    def note(wildcards):
        table = Path(RESULTS, pattern.format(**wildcards))
        came = table.with_suffix(".came.txt")
        if invocation.runs_jobs:
            ask_again_once(table.with_suffix(".refused.json"), came, get_dataset(wildcards))
        return [str(came)] if came.is_file() else []

    return note


def ask_again_once(note, came, dataset):
    """Request refused images again, once in a run: Snakemake may call the function of an input several times."""
    if note in ASKED_AGAIN or not note.is_file():
        return
    ASKED_AGAIN.add(note)
    from vlmflow.data.fetch.images import ask_again

    logger.warning(ask_again(note, came, dataset.image_source()))


def get_task_dataset(wildcards):
    """The dataset from which a task takes its questions."""
    return study.dataset_of_task(wildcards.task)


def get_table_dataset(wildcards):
    """The dataset whose questions are asked for a table."""
    return study.dataset_of_table(wildcards.table)


def get_task_questions(wildcards):
    """The table of questions from which a task is taken."""
    own = wildcards.task in OWN_TASKS
    return f"{RESULTS}/questions/{wildcards.task}.parquet" if own else f"{RESULTS}/questions.parquet"


# Functions: what jobs ask a cluster for, more with every attempt. Local runs do not look at it.


def scaled_by_attempt(amount):
    """An amount of a resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def get_model_memory(wildcards, attempt):
    model = get_model(wildcards)
    asked = estimates.megabytes(size_of(model), model.dtype, gpu=model.gpus > 0, attempt=attempt)
    return limited_by_cluster("most_mem_mb", asked)


def limited_by_cluster(name, amount):
    """What is asked for, or what the cluster gives at most, as the profile says: more would wait for ever."""
    limit = invocation.default_resource(name)
    return amount if limit is None else min(amount, int(limit))


def count_rows(file):
    os.stat(file)  # in a dry run the file may not be there yet: Snakemake knows this error, but not polars' own
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def get_runtime(wildcards, work, questions, attempt):
    model = get_model(wildcards)
    expected = estimates.seconds(work, size_of(model), questions, gpu=model.gpus > 0)
    return limited_by_cluster("most_runtime", estimates.minutes(expected, attempt))


def get_answering_runtime(wildcards, input, attempt):
    """Minutes of asking all questions, or this shard's."""
    shards = int(wildcards.scatteritem.split("-of-")[1]) if "scatteritem" in wildcards.keys() else 1
    return get_runtime(wildcards, estimates.answering(), count_rows(input.questions) // shards + 1, attempt)


def get_probing_runtime(wildcards, input, attempt):
    """Minutes of a probe: on the sample of its task, or on all questions that were asked."""
    probe = study.probes[wildcards.probe]
    questions = count_rows(input.selected if probe.answers_analysed == "correct" else input.answers)
    if probe.questions is not None:
        questions = min(questions, probe.questions)
    work = probe.cost(size_of(get_model(wildcards)), questions)
    return get_runtime(wildcards, work, questions, attempt)


def get_gpus(wildcards):
    """GPUs of a model's jobs. A machine that has none asks for none, so that jobs run beside each other there."""
    wanted = get_model(wildcards).gpus
    return 0 if wanted == 1 and invocation.is_local and not find_gpus() else wanted


@functools.cache
def find_gpus():
    try:
        return visible_gpus()
    except DeviceError:
        return ["one that does not answer"]  # of which the job will say what is wrong


# What figures are drawn from besides the summary of their probe, and how tables are shown.

CURVE_FEATURE_TABLES = study.tables_of("curve-features")
# The tables of which something can be shown.
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

# Probes on whose curves something is to be found.
CURVE_FEATURE_PROBES = [name for name, probe in study.probes.items() if probe.features is not None]


def get_figure_probe(wildcards):
    """The probe of a figure."""
    return study.figures[wildcards.figure].probe


def get_figure_curve_features(wildcards):
    """Phases or knees, where the figure shows them."""
    figure = study.figures[wildcards.figure]
    return [f"{RESULTS}/summary/{figure.probe}.curve-features.parquet"] if figure.curve_features_shown else []


def get_example_files(wildcards, pattern):
    """A file for each task, of a figure that shows examples."""
    figure = study.figures[wildcards.figure]
    if not figure.examples_per_task:
        return []
    names = {"model": wildcards.model, "probe": figure.probe, "figure": wildcards.figure}
    return expand(f"{RESULTS}/{pattern}", task=get_figure_tasks(wildcards), **names)


# What a cluster needs to know besides each rule's resources; on one machine all of this is left out.


def get_partition(wildcards):
    """Where jobs of a model run: with GPUs and without may be two places."""
    return (get_gpus(wildcards) and invocation.default_resource("gpu_partition")) or invocation.default_resource(
        "slurm_partition"
    )


def get_gpu_type(wildcards):
    """Which GPUs a model's jobs take; nothing for those without, which would otherwise be given one."""
    return invocation.default_resource("gpu_type") if get_gpus(wildcards) else None
