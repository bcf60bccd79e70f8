# Jobs of each model: patches from boxes, with a sheet to check them by eye; answers, samples and probes.


rule map_patches:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        model=get_model_files,
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
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        model=get_processor_settings,
        rule=lambda wildcards: study.models[wildcards.model].patch_rule,
    script:
        "../workflow_scripts/map_patches.py"


rule answer_questions:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        chosen=get_chosen_questions,
        model=get_model_files,
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
        mem_mb=get_model_memory,
        runtime=get_answering_runtime,
        gpu=get_gpus,
        gpu_model=get_gpu_type,
        slurm_partition=get_partition,
    params:
        model=get_model_settings,
        answers_match=study.answers_match,
    script:
        "../workflow_scripts/answer_questions.py"


rule sample_answered:
    input:
        answers=f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
    output:
        selected=f"{RESULTS}/{{model}}/selected/{{task}}.parquet",
        skipped=f"{RESULTS}/{{model}}/selected/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/sample_answered/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_answered/{{model}}/{{task}}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        per_task=study.sample.per_task,
        seed=study.sample.seed,
    script:
        "../workflow_scripts/sample_answered.py"


rule run_probe:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        patches=get_patches,
        answers=f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
        selected=f"{RESULTS}/{{model}}/selected/{{task}}.parquet",
        norms=get_sink_norms,
        model=get_model_files,
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
        mem_mb=get_model_memory,
        runtime=get_probing_runtime,
        gpu=get_gpus,
        gpu_model=get_gpu_type,
        slurm_partition=get_partition,
    params:
        model=get_model_settings,
        probe=get_probe_settings,
        seed=get_probe_seed,
        answers_match=study.answers_match,
    script:
        "../workflow_scripts/run_probe.py"
