# From boxes in the picture to patches, as each model's processor cuts it.


def model_files(wildcards):
    """What a model is made of, so that another model in the same folder is seen; nothing for a hub id."""
    folder = study.models[wildcards.model].folder
    if folder is None:
        return []
    return sorted({f"{folder}/config.json", *map(str, folder.glob("*.json")), *map(str, folder.glob("*.safetensors"))})


def model_settings(*names):
    return lambda wildcards: study.models[wildcards.model].model_dump(
        mode="json", include=set(names)
    )


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
        model=model_settings("path", "revision"),
    script:
        "../workflow_scripts/map_patches.py"
