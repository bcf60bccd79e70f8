# From boxes in the picture to patches, as each model's processor cuts it.


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
