# From boxes in the picture to patches, as each model's processor cuts it.


MODEL_ENDINGS = {".json", ".jinja", ".model", ".safetensors", ".txt"}


def model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; nothing for a hub id."""
    folder = study.models[wildcards.model].folder
    if folder is None:
        return []
    files = folder.iterdir() if folder.is_dir() else []
    return sorted({f"{folder}/config.json", *(str(file) for file in files if file.suffix in MODEL_ENDINGS)})


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


rule map_patches:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        model=model_files,
    output:
        patches=f"{RESULTS}/{{model}}/patches/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/patches/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/map_patches/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/map_patches/{{model}}/{{task}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        model=lambda wildcards: {key: model_settings(wildcards)[key] for key in ("path", "revision")},
    script:
        "../workflow_scripts/map_patches.py"
