# From boxes in the picture to patches, as each model's processor cuts it, with a sheet to check them by eye.


rule map_patches:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        model=model_files,
    output:
        patches=f"{RESULTS}/{{model}}/patches/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/patches/{{task}}.skipped.parquet",
        sheet=report(
            f"{RESULTS}/{{model}}/sheets/{{task}}.png",
            caption="../workflow_scripts/captions/sheet.rst",
            category="Contact sheets",
            subcategory="{model}",
            labels={"task": "{task}"},
        ),
    log:
        f"{RESULTS}/logs/map_patches/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/map_patches/{{model}}/{{task}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        model=processor_settings,
        rule=lambda wildcards: study.models[wildcards.model].patch_rule,
    script:
        "../workflow_scripts/map_patches.py"
