# Functions and lists that several rules share.
import json
import os
import re

from snakemake.logging import logger
from vlmflow.folders import read_config
from vlmflow.hub_cache import forget_if_gone
from vlmflow.leaving_out import is_left_out, left_out

# Jobs read models from the disk; only `fetch_model` speaks with the hub.
os.environ.update(HF_HUB_OFFLINE="1")

MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}

# What a first run has shown to fail; this one finishes the rest.
LEFT_OUT = left_out()

PICTURE_MODELS = [name for name, model in study.models.items() if model.reads == "picture"]

# Every model and task that some probe asks for, in the order of the study file; only these are asked at all.
PLACES = [
    (model, task)
    for model in study.models
    for task in study.tasks
    if not is_left_out(LEFT_OUT, model, task)
    and any(model in study.models_of(probe) and task in study.tasks_of(probe) for probe in study.probes)
]
PICTURE_PLACES = [(model, task) for model, task in PLACES if model in PICTURE_MODELS]


def one_of(names):
    """A wildcard's pattern."""
    return "|".join(map(re.escape, names)) or "none"


def at(places, pattern):
    """A path for each model and task, in their order."""
    return [f"{RESULTS}/{pattern.format(model=model, task=task)}" for model, task in places]


def places_of(probe):
    """Model and task of each table of a probe."""
    places = [(model, task) for model in study.models_of(probe) for task in study.tasks_of(probe)]
    return [(model, task) for model, task in places if not is_left_out(LEFT_OUT, model, task, probe)]


def drawn_models(figure):
    """The models of a figure, but those of which there is nothing to draw."""
    return list(dict.fromkeys(model for model, _ in places_of(study.figures[figure].probe)))


def tasks_of_figure(wildcards):
    """The tasks of a model's figure."""
    places = places_of(study.figures[wildcards.figure].probe)
    return [task for model, task in places if model == wildcards.model]


def model_of(wildcards):
    """The model of a job, which of a table's jobs is the table's."""
    name = wildcards.model if "model" in wildcards.keys() else study.tables[wildcards.table].model
    return study.models[name]


def runs():
    """Whether this process runs the study, and not only plans or lists it, or a single job; known once jobs are planned."""
    return workflow.is_main_process and workflow.executor_plugin and not (workflow.dryrun or workflow.touch)


def forget_what_is_gone(note):
    """Delete the note of a model of which files were taken out of the hub's cache: the job that asks fetches it again."""
    if runs() and (gone := forget_if_gone(Path(note))):
        logger.warning(f"{note}: {', '.join(gone)} is gone from the hub's cache; jobs that need it fetch it again.")


def model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; for a hub id, the note of what was
    fetched."""
    model = model_of(wildcards)
    template = [model.template] if model.template.endswith(".jinja") else []
    if model.folder is None:
        forget_what_is_gone(model.fetched)
        return [model.fetched, *template]
    return sorted(str(file) for file in model.folder.iterdir() if file.suffix in MODEL_ENDINGS) + template


def processor_settings(wildcards):
    """What a model's patch maps depend on besides its files."""
    model = model_of(wildcards)
    return model.model_dump(mode="json", include={"path", "template", "fit"}) | {"fetched": model.fetched}


def model_settings(wildcards):
    """What a model's answers depend on besides its files."""
    model = model_of(wildcards)
    return processor_settings(wildcards) | model.model_dump(mode="json", include={"dtype", "instruction", "reads"})


def known_layers(model):
    """How many layers a model has, by its configuration; None where that does not say, as before a hub id is fetched."""
    if model.folder is None:
        return json.loads(Path(model.fetched).read_text()).get("layers") if Path(model.fetched).is_file() else None
    config = read_config(model.folder)
    return (config.get("text_config") or config).get("num_hidden_layers")


def chosen_questions(wildcards):
    """What was drawn from the answers of the model that chooses for all; nothing for that model itself."""
    chooser = study.sample.answered_by
    others = chooser is not None and wildcards.model != chooser
    return [f"{RESULTS}/{chooser}/selected/{wildcards.task}.parquet"] if others else []


def patches_of_model(wildcards):
    """The patch map of a model that reads pictures."""
    return (
        [f"{RESULTS}/{wildcards.model}/patches/{wildcards.task}.parquet"] if wildcards.model in PICTURE_MODELS else []
    )


def norms_of_sinks(wildcards):
    """The norms by which a probe's attention sinks are known, where it asks for them."""
    sinks = getattr(study.probes[wildcards.probe], "sinks", None)
    return [f"{RESULTS}/{wildcards.model}/{sinks.norms}/{wildcards.task}.parquet"] if sinks is not None else []


def probe_settings(wildcards):
    """What a probe's rows depend on besides the questions: not on which models and tasks it is run too."""
    return study.probes[wildcards.probe].model_dump(mode="json", exclude={"models", "tasks"})


def probe_seed(wildcards):
    """A draw that keeps everything is the same whatever the seed."""
    probe = study.probes[wildcards.probe]
    drawn = probe.questions or getattr(probe, "timed", 0) or getattr(probe, "examples", 0)
    return study.sample.seed if drawn else None
