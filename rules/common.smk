# Functions and lists that several rules share.

MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}

# Model and task of each input of a summary: `expand` runs through them in this order.
PLACES = [(model, task) for model in study.models for task in study.tasks]

for name, model in study.models.items():
    if model.folder is not None and not (model.folder / "config.json").is_file():
        raise WorkflowError(
            f"models.{name}.path: there is no model in {model.path} ({model.path}/config.json is missing); give a "
            "folder as `save_pretrained` writes it, or a hub id"
        )


def raw_dataset(wildcards):
    """The files in GQA's layout: drawn by a rule, or the user's own."""
    if study.dataset.source == "synthetic":
        folder = f"resources/synthetic/{study.dataset.images}-{study.dataset.seed}"
        return {
            "questions": f"{folder}/questions.json",
            "scene_graphs": f"{folder}/sceneGraphs.json",
            "images": f"{folder}/images",
        }
    return {
        "questions": str(study.dataset.questions),
        "scene_graphs": str(study.dataset.scene_graphs),
        "images": str(study.dataset.images),
    }


def model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; nothing for a hub id."""
    folder = study.models[wildcards.model].folder
    files = folder.iterdir() if folder is not None else []
    return sorted(str(file) for file in files if file.suffix in MODEL_ENDINGS)


def model_settings(wildcards):
    """What a model's answers depend on besides its files."""
    model = study.models[wildcards.model]
    return {
        "path": model.source,
        "revision": model.revision,
        "dtype": model.dtype,
        "instruction": model.instruction,
        "device": model.device,
    }


def gpus(wildcards):
    return study.models[wildcards.model].gpus


def model_memory(wildcards, attempt):
    """Megabytes: twice the weights, which may be widened to float32, and what runs them; more after a failure.

    What a hub id weighs is not known beforehand; 7 billion parameters in half precision fit.
    """
    weights = [Path(file) for file in model_files(wildcards) if file.endswith(".safetensors")]
    megabytes = sum(file.stat().st_size for file in weights) // 1_000_000 if weights else 14_000
    return (3000 + 2 * megabytes) * attempt
