# From boxes in the image to patches, as each model's processor cuts it, with a sheet to check them by eye.


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


rule answer_questions:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        chosen=chosen_questions,
        model=model_files,
    output:
        answers=f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/answers/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/answer_questions/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/answer_questions/{{model}}/{{task}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=answering_time,
        gpu=gpus,
        gpu_model=gpu_type,
        slurm_partition=partition,
    params:
        model=model_settings,
        answers_match=study.answers_match,
    script:
        "../workflow_scripts/answer_questions.py"


rule draw_sample:
    input:
        answers=f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
    output:
        selected=f"{RESULTS}/{{model}}/selected/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/selected/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/draw_sample/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_sample/{{model}}/{{task}}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    params:
        per_task=study.sample.per_task,
        seed=study.sample.seed,
    script:
        "../workflow_scripts/draw_sample.py"


rule run_probe:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        patches=patches_of_model,
        answers=f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
        selected=f"{RESULTS}/{{model}}/selected/{{task}}.parquet",
        norms=norms_of_sinks,
        model=model_files,
    output:
        rows=f"{RESULTS}/{{model}}/{{probe}}/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/{{probe}}/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/run_probe/{{model}}/{{probe}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_probe/{{model}}/{{probe}}/{{task}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=probing_time,
        gpu=gpus,
        gpu_model=gpu_type,
        slurm_partition=partition,
    params:
        model=model_settings,
        probe=probe_settings,
        seed=probe_seed,
        answers_match=study.answers_match,
    script:
        "../workflow_scripts/run_probe.py"
