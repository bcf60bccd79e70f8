# Jobs of each model: loading it once to see that it works; patches from boxes, with sheets to check them by eye;
# answers, samples and probes, each over all tasks, in shards.


rule load_model:
    input:
        note=get_model_note,
    output:
        model=f"{RESULTS}/{{model}}/model.parquet",
    log:
        f"{RESULTS}/logs/load_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/load_model/{{model}}.tsv"
    # Before all other jobs: hours of them are lost if the model cannot be loaded.
    priority: 10
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=get_model_memory,
        runtime=get_loading_runtime,
        gpu=get_gpus,
        gpu_model=get_gpu_type,
        slurm_partition=get_partition,
    params:
        model=get_loading_settings,
    script:
        "../workflow_scripts/load_model.py"


rule map_patches:
    input:
        questions=lambda wildcards: get_task_files(TASKS_OF[wildcards.model]),
        loaded=get_model_loaded,
        note=get_model_note,
    output:
        patches=f"{RESULTS}/{{model}}/patches.parquet",
        skipped=f"{RESULTS}/{{model}}/patches.skipped.parquet",
        # Of every task, since outputs cannot depend on the model; one of which it is asked nothing is empty.
        sheets=[
            report(
                f"{RESULTS}/{{model}}/sheets/{task}.png",
                caption="../workflow_scripts/captions/sheet.rst",
                category="Contact sheets",
                subcategory="{model}",
                labels={"task": task},
            )
            for task in study.tasks
        ],
    log:
        f"{RESULTS}/logs/map_patches/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/map_patches/{{model}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=get_patches_memory,
        runtime=scaled_by_attempt(60),
    params:
        model=get_processor_settings,
        rule=lambda wildcards: study.models[wildcards.model].patch_rule,
        tasks=lambda wildcards: TASKS_OF[wildcards.model],
        images=get_images_content,
        code=code_digest("vlmflow.prompts.patch_row", "vlmflow.prompts.measure_layout"),
    script:
        "../workflow_scripts/map_patches.py"


rule answer_questions:
    input:
        questions=lambda wildcards: get_task_files(TASKS_OF[wildcards.model]),
        chosen=get_chosen_questions,
        loaded=get_model_loaded,
        note=get_model_note,
    output:
        answers=f"{RESULTS}/{{model}}/answers/{{shard}}.parquet",
        skipped=f"{RESULTS}/{{model}}/answers/{{shard}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/answer_questions/{{model}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/answer_questions/{{model}}/{{shard}}.tsv"
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
        name=lambda wildcards: wildcards.model,
        model=get_model_settings,
        tasks=lambda wildcards: TASKS_OF[wildcards.model],
        images=get_images_content,
        answers_match=study.answers_match,
        code=code_digest(*ANSWERING),
    script:
        "../workflow_scripts/answer_questions.py"


rule sample_answered:
    input:
        answers=lambda wildcards: get_shards([wildcards.model], "answers"),
    output:
        selected=f"{RESULTS}/{{model}}/selected.parquet",
        skipped=f"{RESULTS}/{{model}}/selected.skipped.parquet",
    log:
        f"{RESULTS}/logs/sample_answered/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_answered/{{model}}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        name=lambda wildcards: wildcards.model,
        tasks=lambda wildcards: TASKS_OF[wildcards.model],
        per_task=study.sample.per_task,
        seed=study.sample.seed,
    script:
        "../workflow_scripts/sample_answered.py"


rule run_probe:
    input:
        questions=lambda wildcards: get_task_files(study.tasks_of(wildcards.probe)),
        patches=get_patches,
        answers=lambda wildcards: get_shards([wildcards.model], "answers"),
        selected=f"{RESULTS}/{{model}}/selected.parquet",
        norms=get_sink_norms,
        loaded=get_model_loaded,
        note=get_model_note,
    output:
        rows=f"{RESULTS}/{{model}}/{{probe}}/{{shard}}.parquet",
        skipped=f"{RESULTS}/{{model}}/{{probe}}/{{shard}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/run_probe/{{model}}/{{probe}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_probe/{{model}}/{{probe}}/{{shard}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=get_probing_memory,
        runtime=get_probing_runtime,
        gpu=get_gpus,
        gpu_model=get_gpu_type,
        slurm_partition=get_partition,
    params:
        model=get_model_settings,
        probe=get_probe_settings,
        tasks=lambda wildcards: study.tasks_of(wildcards.probe),
        seed=get_probe_seed,
        answers_match=study.answers_match,
        code=get_probe_code,
    script:
        "../workflow_scripts/run_probe.py"


# Not part of any other target: `snakemake clean_store --cores 1`.
rule clean_store:
    log:
        f"{RESULTS}/logs/clean_store.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    script:
        "../workflow_scripts/clean_store.py"
