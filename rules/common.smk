# Functions and lists that several rules share.
import json
import os
import re

# Jobs read models from the disk; only `fetch_model` speaks with the hub.
os.environ.update(HF_HUB_OFFLINE="1")

MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}
GQA_FOLDER = "resources/gqa"

# As `--resources gpu=…` or the profile says, if at all; the processes that run single jobs need not know.
GPU_LIMIT = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else None

# Model and task of each input of a summary: `expand` runs through them in this order.
PLACES = [(model, task) for model in study.models for task in study.tasks]

for name, model in study.models.items():
    if model.folder is not None and not (model.folder / "config.json").is_file():
        raise WorkflowError(
            f"models.{name}.path: there is no model in {model.path} ({model.path}/config.json is missing); give a "
            "folder as `save_pretrained` writes it, or a hub id"
        )
    if model.template.endswith(".jinja") and not Path(model.template).is_file():
        raise WorkflowError(f"models.{name}.template: there is no file {model.template}")
    if workflow.is_main_process and GPU_LIMIT is not None and model.gpus > GPU_LIMIT:
        raise WorkflowError(
            f"models.{name}.gpus: a job of this model takes {model.gpus} GPUs, but no more than {GPU_LIMIT} are to be "
            f"used at a time; run with --resources gpu={model.gpus}, or more"
        )


def one_of(names):
    """A wildcard's pattern."""
    return "|".join(map(re.escape, names)) or "none"


def raw_files(dataset):
    """The files that hold a dataset's questions: drawn by a rule, downloaded by a rule, or the user's own."""
    match dataset.source:
        case "synthetic":
            folder = f"resources/synthetic/{dataset.images}-{dataset.seed}"
            return {"questions": f"{folder}/questions.json", "scene_graphs": f"{folder}/sceneGraphs.json"}
        case "gqa-paper":
            return {"questions": [f"resources/gqa-paper/{file}" for file in dataset.sha256]}
        case "gqa":
            return {
                "questions": str(dataset.questions or f"{GQA_FOLDER}/{dataset.split}_balanced_questions.json"),
                "scene_graphs": str(dataset.scene_graphs or f"{GQA_FOLDER}/{dataset.split}_sceneGraphs.json"),
            }


def picture_source(dataset):
    """Where a dataset's pictures lie, and from where missing ones are fetched."""
    if dataset.source == "synthetic":
        return {"folder": f"resources/synthetic/{dataset.images}-{dataset.seed}/images", "url": None}
    if dataset.images_dir is not None:
        return {"folder": str(dataset.images_dir), "url": None}
    return {"folder": f"{GQA_FOLDER}/images", "url": dataset.archives}


def picture_folder(dataset):
    """A folder of pictures that has to be there before the job; none where the job fetches them."""
    source = picture_source(dataset)
    return [source["folder"]] if source["url"] is None else []


def table_dataset(table):
    return study.tables[table].dataset or study.dataset


def model_of(wildcards):
    """The model of a job, which of a table's jobs is the table's."""
    name = wildcards.model if "model" in wildcards.keys() else study.tables[wildcards.table].model
    return study.models[name]


def model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; for a hub id, the note of what was
    fetched."""
    model = model_of(wildcards)
    template = [model.template] if model.template.endswith(".jinja") else []
    if model.folder is None:
        return [model.fetched, *template]
    return sorted(str(file) for file in model.folder.iterdir() if file.suffix in MODEL_ENDINGS) + template


def processor_settings(wildcards):
    """What a model's patch maps depend on besides its files."""
    model = model_of(wildcards)
    return model.model_dump(mode="json", include={"path", "template", "fit"}) | {"fetched": model.fetched}


def model_settings(wildcards):
    """What a model's answers depend on besides its files."""
    model = model_of(wildcards)
    return processor_settings(wildcards) | {"dtype": model.dtype, "instruction": model.instruction}


def gpus(wildcards):
    return model_of(wildcards).gpus


def model_memory(wildcards, attempt):
    """Megabytes: twice the weights, which may be widened to float32, and what runs them; more after a failure.

    What a hub id weighs is known once it is fetched; before, 7 billion parameters in half precision are assumed.
    """
    files = [Path(file) for file in model_files(wildcards)]
    if model_of(wildcards).folder is None:
        weight = json.loads(files[0].read_text())["bytes"] if files[0].is_file() else 14_000_000_000
    else:
        weight = sum(file.stat().st_size for file in files if file.suffix == ".safetensors")
    return (3000 + 2 * (weight // 1_000_000)) * attempt


def chosen_questions(wildcards):
    """What was drawn from the right answers of the model that chooses for all; nothing for that model itself."""
    chooser = study.sample.answered_by
    others = chooser is not None and wildcards.model != chooser
    return [f"{RESULTS}/{chooser}/selected/{wildcards.task}.parquet"] if others else []
