# Functions and lists that several rules share.
import os
import re
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from snakemake.logging import logger
from vlmflow.data.synthetic import FOLDER as SCENES
from vlmflow.data.winoground import FOLDER as WINOGROUND
from vlmflow.jobs.requests import ResourceRequests
from vlmflow.jobs.second_run import is_left_out, read_left_out
from vlmflow.jobs.contents import FileContents, ImageContents, ModelContents
from vlmflow.models.hub_cache import forget_if_gone
from vlmflow.probes.address import ANSWERING, probing_modules
from vlmflow.store.code import code_digest
from vlmflow.tables import shard_names

# Jobs read models from the disk; only the rule `fetch_model` connects to the hub.
os.environ.update(HF_HUB_OFFLINE="1")

# The contents of models and images, by which changed files are noticed; see docs/store.md.
model_contents, image_contents, file_contents = ModelContents(), ImageContents(), FileContents()

# Measurements that failed in a first run; this run finishes all others.
LEFT_OUT = read_left_out()

# Model → the tasks that a probe needs, in the order of the study file; a model is asked no other questions.
TASKS_OF = {
    model: [
        task
        for task in study.tasks
        if any(model in study.models_of(probe) and task in study.tasks_of(probe) for probe in study.probes)
    ]
    for model in study.models
    if not is_left_out(LEFT_OUT, model)
}
MODELS = [model for model, tasks in TASKS_OF.items() if tasks]
MODEL_TASKS = [(model, task) for model in MODELS for task in TASKS_OF[model]]
IMAGE_MODELS = [model for model in MODELS if study.models[model].reads == "image"]


def get_wildcard_pattern(names):
    """A wildcard's pattern, which matches these names only."""
    return "|".join(map(re.escape, names)) or "none"


def get_probe_models(probe):
    """The models of a probe, without those for which it has failed."""
    return [
        model
        for model in study.models_of(probe)
        if model in MODELS and not is_left_out(LEFT_OUT, model, probe) and study.tasks_of(probe)
    ]


def get_probe_model_tasks(probe):
    """Model and task of everything that a probe measures."""
    return [(model, task) for model in get_probe_models(probe) for task in study.tasks_of(probe)]


def get_shards(models, step, ending=".parquet"):
    """The files of all shards of a step (answers, or a probe), model by model."""
    return [
        f"{RESULTS}/{model}/{step}/{shard}{ending}"
        for model in models
        for shard in shard_names(study.models[model].shards)
    ]


def get_models_of_shards(models):
    """The model of each file that `get_shards` lists."""
    return [model for model in models for _ in range(study.models[model].shards)]


def get_task_files(tasks):
    """The questions of tasks."""
    return [f"{RESULTS}/tasks/{task}.parquet" for task in tasks]


def get_drawn_models(figure):
    """The models of a figure, without those for which there is nothing to draw."""
    return get_probe_models(study.figures[figure].probe)


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


def get_model_note(wildcards):
    """For a hub id, the note of what was fetched. The content of a model's files is a param, not an input: Snakemake
    would take a file that is merely touched for a changed one, and not notice a changed file with an older date."""
    model = get_model(wildcards)
    if model.fetched is None:
        return []
    forget_missing_files(model.fetched)
    return [model.fetched]


def get_model_loaded(wildcards):
    """The note that the model could be loaded. It is not `ancient`: Snakemake does not look at the params of jobs that
    need a job that must run, so that a changed model would be loaded, and nothing measured with it."""
    name = wildcards.model if "model" in wildcards.keys() else study.tables[wildcards.table].model
    return f"{RESULTS}/{name}/model.parquet"


def get_processor_settings(wildcards):
    """The settings on which a model's patch maps depend, and the content of its files without the weights."""
    model = get_model(wildcards)
    settings = model.model_dump(mode="json", include={"path", "template", "fit", "dtype"})
    return settings | {"fetched": model.fetched} | model_contents.of_processor(model)


def get_loading_settings(wildcards):
    """The settings with which a model is loaded, and the content of all its files."""
    model = get_model(wildcards)
    further = model.model_dump(mode="json", include={"reads"})
    return get_processor_settings(wildcards) | further | model_contents.of_all(model)


def get_model_settings(wildcards):
    """The settings on which a model's measurements depend, and the content of all its files."""
    return get_loading_settings(wildcards) | {"instruction": get_model(wildcards).instruction}


def get_images_content(wildcards):
    """The content of the images of a model's questions, or a table's."""
    if "model" in wildcards.keys():
        return image_contents.of_tables(get_task_files(TASKS_OF[wildcards.model]))
    return image_contents.of_tables([f"{RESULTS}/tables/{wildcards.table}/asked.parquet"])


def get_chosen_questions(wildcards):
    """The sample from the answers of the model that `sample.answered_by` names; none for that model itself."""
    chooser = study.sample.answered_by
    return [f"{RESULTS}/{chooser}/selected.parquet"] if chooser not in (None, wildcards.model) else []


def get_patches(wildcards):
    """The patch map of a model that reads images, if the probe needs it."""
    needed = wildcards.model in IMAGE_MODELS and study.probes[wildcards.probe].needs_patches
    return [f"{RESULTS}/{wildcards.model}/patches.parquet"] if needed else []


def get_sink_norms(wildcards):
    """The norms that define a probe's attention sinks, if it needs them."""
    norms = study.probes[wildcards.probe].norms_probe
    return get_shards([wildcards.model], norms) if norms is not None else []


def get_probe_settings(wildcards):
    """The settings on which a probe's rows depend, besides the questions; not its other models and tasks."""
    return study.probes[wildcards.probe].model_dump(mode="json", exclude={"models", "tasks"})


def get_probe_code(wildcards):
    """The digest of the code that measures a probe."""
    return code_digest(*probing_modules(type(study.probes[wildcards.probe])))


def get_probe_seed(wildcards):
    """The seed of a probe's random choices; None if its rows do not depend on it."""
    return study.sample.seed if study.probes[wildcards.probe].uses_seed else None


# Functions: the resources that jobs request from a cluster, more with every attempt. Local runs ignore them.


def scaled_by_attempt(amount):
    """An amount of a resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def scaled_by_rows(megabytes):
    """Memory of a job that holds tables of rows: these megabytes and a few copies of its files."""
    return lambda wildcards, input, attempt: attempt * (megabytes + int(5 * input.size_mb))


# Requests for jobs with a model; the library decides.
requests = ResourceRequests(invocation)


def get_patches_memory(wildcards, attempt):
    """Memory of finding where image tokens lie, in megabytes: of the processor, and from the second attempt on of the
    model too, which is needed where the layout of its tokens has to be measured."""
    return 2000 if attempt == 1 else 2000 + get_model_memory(wildcards, attempt - 1)


def get_model_memory(wildcards, attempt):
    """Memory of a job with a model, in megabytes."""
    return requests.memory(get_model(wildcards), attempt)


def get_loading_runtime(wildcards, attempt):
    """Minutes of loading a model."""
    return requests.loading(get_model(wildcards), attempt)


def get_answering_runtime(wildcards, input, attempt):
    """Minutes of asking the questions of a shard."""
    return requests.answering(get_model(wildcards), input.questions, attempt)


def get_probing_runtime(wildcards, input, attempt):
    """Minutes of a shard of a probe."""
    return requests.probing(*get_shard_of_probe(wildcards, input), attempt)


def get_probing_memory(wildcards, input, attempt):
    """Memory of a shard of a probe, in megabytes."""
    return requests.probing_memory(*get_shard_of_probe(wildcards, input), attempt)


def get_shard_of_probe(wildcards, input):
    """The model and the probe of a job, its tasks, and the tables that say how many questions it measures."""
    name = wildcards.probe
    return get_model(wildcards), study.probes[name], study.tasks_of(name), input.selected, input.answers


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


def get_table_shards(table, ending=".parquet"):
    """The files of all shards of a table's own answers."""
    shards = study.models[study.tables[table].model].shards
    return [f"{RESULTS}/tables/{table}/answers/{shard}{ending}" for shard in shard_names(shards)]


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


def get_example_rows(wildcards):
    """The probe's rows if the figure shows examples; none otherwise."""
    figure = study.figures[wildcards.figure]
    return get_shards([wildcards.model], figure.probe) if figure.examples_per_task else []


def get_example_views(wildcards):
    """The images of examples if the figure shows them; none otherwise."""
    shows = study.figures[wildcards.figure].examples_per_task
    return [f"{RESULTS}/figures/{wildcards.figure}/{wildcards.model}.views.parquet"] if shows else []
