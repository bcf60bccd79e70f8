# Rows of single questions become means with intervals; the tables of skipped questions and of cost; and the states that
# other programs read.

# (model, step, its files without their endings under the logs and benchmarks) of every job with a model; and the
# table that each of them makes.
MODEL_JOBS = [
    *((model, "loading", f"load_model/{model}") for model in MODELS),
    *(
        (model, "answers", f"answer_questions/{model}/{shard}")
        for model in MODELS
        for shard in shard_names(study.models[model].shards)
    ),
    *(
        (model, probe, f"run_probe/{model}/{probe}/{shard}")
        for probe in study.probes
        for model in get_probe_models(probe)
        for shard in shard_names(study.models[model].shards)
    ),
    *(
        (study.tables[table].model, f"table {table}", f"answer_table/{table}/{shard}")
        for table in study.accuracy_tables
        if table in SHOWN_TABLES
        for shard in shard_names(study.models[study.tables[table].model].shards)
    ),
]
MODEL_JOB_TABLES = [
    *(f"{RESULTS}/{model}/model.parquet" for model in MODELS),
    *get_shards(MODELS, "answers"),
    *(path for probe in study.probes for path in get_shards(get_probe_models(probe), probe)),
    *(path for table in study.accuracy_tables if table in SHOWN_TABLES for path in get_table_shards(table)),
]


rule summarise_probe:
    input:
        rows=lambda wildcards: get_shards(get_probe_models(wildcards.probe), wildcards.probe),
        skipped=lambda wildcards: get_shards(get_probe_models(wildcards.probe), wildcards.probe, ".skipped.parquet"),
    output:
        summary=f"{RESULTS}/summary/{{probe}}.parquet",
    log:
        f"{RESULTS}/logs/summarise_probe/{{probe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_probe/{{probe}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_rows(4000),
        runtime=scaled_by_attempt(20),
    params:
        kind=lambda wildcards: study.probes[wildcards.probe].kind,
        models=lambda wildcards: get_models_of_shards(get_probe_models(wildcards.probe)),
        model_tasks=lambda wildcards: get_probe_model_tasks(wildcards.probe),
    script:
        "../workflow_scripts/summarise_probe.py"


rule summarise_answers:
    input:
        answers=get_shards(MODELS, "answers"),
        selected=[f"{RESULTS}/{model}/selected.parquet" for model in MODELS],
    output:
        summary=f"{RESULTS}/summary/answers.parquet",
    log:
        f"{RESULTS}/logs/summarise_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_answers.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        models=get_models_of_shards(MODELS),
        model_tasks=MODEL_TASKS,
    script:
        "../workflow_scripts/summarise_answers.py"


rule collect_skipped:
    input:
        whole=[f"{RESULTS}/questions.skipped.parquet"]
        + expand(f"{RESULTS}/questions/{{task}}.skipped.parquet", task=OWN_TASKS)
        + expand(
            [
                f"{RESULTS}/candidates/{{task}}.skipped.parquet",
                f"{RESULTS}/tasks/{{task}}.images.skipped.parquet",
            ],
            task=study.tasks,
        )
        + [f"{RESULTS}/{model}/selected.skipped.parquet" for model in MODELS]
        + [f"{RESULTS}/{model}/patches.skipped.parquet" for model in IMAGE_MODELS]
        + [f"{RESULTS}/tables/{table}.skipped.parquet" for table in study.accuracy_tables if table in SHOWN_TABLES],
        shards=get_shards(MODELS, "answers", ".skipped.parquet")
        + [path for probe in study.probes for path in get_shards(get_probe_models(probe), probe, ".skipped.parquet")],
    output:
        skipped=f"{RESULTS}/summary/skipped.parquet",
    log:
        f"{RESULTS}/logs/collect_skipped.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_skipped.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    script:
        "../workflow_scripts/collect_skipped.py"


rule summarise_cost:
    input:
        MODEL_JOB_TABLES,
    output:
        summary=f"{RESULTS}/summary/cost.parquet",
    log:
        f"{RESULTS}/logs/summarise_cost.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_cost.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        # Not an input: a missing benchmark file must not cause a job to run again.
        jobs=[
            (model, step, f"{RESULTS}/benchmarks/{files}.tsv", f"{RESULTS}/logs/{files}.log")
            for model, step, files in MODEL_JOBS
        ],
    script:
        "../workflow_scripts/summarise_cost.py"


rule find_curve_features:
    input:
        rows=lambda wildcards: get_shards(get_probe_models(wildcards.probe), wildcards.probe),
    output:
        curve_features=f"{RESULTS}/summary/{{probe}}.curve-features.parquet",
    log:
        f"{RESULTS}/logs/find_curve_features/{{probe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/find_curve_features/{{probe}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        kind=lambda wildcards: study.probes[wildcards.probe].kind,
        models=lambda wildcards: get_models_of_shards(get_probe_models(wildcards.probe)),
        model_tasks=lambda wildcards: get_probe_model_tasks(wildcards.probe),
    script:
        "../workflow_scripts/find_curve_features.py"


# The states of a probe on one model, in the files that other programs read; each is a target of `rule all`.
EXPORTED_STATES = [
    f"{RESULTS}/{model}/{probe}/export/{name}"
    for probe in study.probes
    if study.probes[probe].exports_states
    for model in get_probe_models(probe)
    for name in ("states.safetensors", "index.parquet")
]


rule export_states:
    input:
        rows=lambda wildcards: get_shards([wildcards.model], wildcards.probe),
    output:
        states=f"{RESULTS}/{{model}}/{{probe}}/export/states.safetensors",
        index=f"{RESULTS}/{{model}}/{{probe}}/export/index.parquet",
    log:
        f"{RESULTS}/logs/export_states/{{model}}/{{probe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/export_states/{{model}}/{{probe}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_rows(1000),
        runtime=scaled_by_attempt(20),
    script:
        "../workflow_scripts/export_states.py"


rule show_examples:
    input:
        questions=lambda wildcards: get_task_files(study.tasks_of(get_figure_probe(wildcards))),
        rows=lambda wildcards: get_shards([wildcards.model], get_figure_probe(wildcards)),
        note=get_model_note,
    output:
        views=f"{RESULTS}/figures/{{figure}}/{{model}}.views.parquet",
    log:
        f"{RESULTS}/logs/show_examples/{{figure}}/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/show_examples/{{figure}}/{{model}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=get_patches_memory,
        runtime=scaled_by_attempt(10),
    params:
        model=get_processor_settings,
        kind=lambda wildcards: study.probes[get_figure_probe(wildcards)].kind,
        most=lambda wildcards: study.figures[wildcards.figure].examples_per_task,
        tasks=lambda wildcards: study.tasks_of(get_figure_probe(wildcards)),
    script:
        "../workflow_scripts/show_examples.py"
