# Rows of single questions become means with intervals; and the tables of skipped questions and of cost.

# (model, step, path of its files under the results, path of its benchmark and log) of every job with a model.
MODEL_JOBS = [
    *((model, "answers", f"{model}/answers/{task}", f"answer_questions/{model}/{task}") for model, task in MODEL_TASKS),
    *(
        (model, probe, f"{model}/{probe}/{task}", f"run_probe/{model}/{probe}/{task}")
        for probe in study.probes
        for model, task in get_model_tasks(probe)
    ),
    *(
        (
            table.model,
            f"table {name}",
            f"tables/{name}/answers/{shard}-of-{table.shards}",
            f"answer_shard/{name}/{shard}-of-{table.shards}",
        )
        for name, table in study.accuracy_tables.items()
        if name in SHOWN_TABLES
        for shard in range(1, table.shards + 1)
    ),
]


rule summarise_probe:
    input:
        rows=lambda wildcards: get_paths(
            get_model_tasks(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.parquet"
        ),
        skipped=lambda wildcards: get_paths(
            get_model_tasks(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.skipped.parquet"
        ),
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
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(20),
    params:
        kind=lambda wildcards: study.probes[wildcards.probe].kind,
        model_tasks=lambda wildcards: get_model_tasks(wildcards.probe),
    script:
        "../workflow_scripts/summarise_probe.py"


rule summarise_answers:
    input:
        answers=get_paths(MODEL_TASKS, "{model}/answers/{task}.parquet"),
        selected=get_paths(MODEL_TASKS, "{model}/selected/{task}.parquet"),
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
        model_tasks=MODEL_TASKS,
    script:
        "../workflow_scripts/summarise_answers.py"


rule collect_skipped:
    input:
        questions=[f"{RESULTS}/questions.skipped.parquet"]
        + expand(f"{RESULTS}/questions/{{task}}.skipped.parquet", task=OWN_TASKS),
        tasks=expand(
            [
                f"{RESULTS}/candidates/{{task}}.skipped.parquet",
                f"{RESULTS}/tasks/{{task}}.images.skipped.parquet",
            ],
            task=study.tasks,
        ),
        answers=get_paths(MODEL_TASKS, "{model}/answers/{task}.skipped.parquet"),
        selected=get_paths(MODEL_TASKS, "{model}/selected/{task}.skipped.parquet"),
        patches=get_paths(IMAGE_MODEL_TASKS, "{model}/patches/{task}.skipped.parquet"),
        probes=[
            table
            for probe in study.probes
            for table in get_paths(get_model_tasks(probe), f"{{model}}/{probe}/{{task}}.skipped.parquet")
        ],
        tables=[f"{RESULTS}/tables/{table}.skipped.parquet" for table in study.accuracy_tables if table in SHOWN_TABLES],
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
        [f"{RESULTS}/{table}.parquet" for _, _, table, _ in MODEL_JOBS],
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
            for model, step, _, files in MODEL_JOBS
        ],
    script:
        "../workflow_scripts/summarise_cost.py"


rule find_curve_features:
    input:
        rows=lambda wildcards: get_paths(
            get_model_tasks(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.parquet"
        ),
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
        model_tasks=lambda wildcards: get_model_tasks(wildcards.probe),
    script:
        "../workflow_scripts/find_curve_features.py"


rule show_examples:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        rows=lambda wildcards: f"{RESULTS}/{wildcards.model}/{get_figure_probe(wildcards)}/{wildcards.task}.parquet",
        model=get_model_files,
    output:
        views=f"{RESULTS}/figures/{{figure}}/{{model}}/{{task}}.views.parquet",
    log:
        f"{RESULTS}/logs/show_examples/{{figure}}/{{model}}/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/show_examples/{{figure}}/{{model}}/{{task}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        model=get_processor_settings,
        kind=lambda wildcards: study.probes[get_figure_probe(wildcards)].kind,
        most=lambda wildcards: study.figures[wildcards.figure].examples_per_task,
    script:
        "../workflow_scripts/show_examples.py"
