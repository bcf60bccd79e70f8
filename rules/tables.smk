# The tables of the report: tasks, accuracy by group (with questions and answers of its own), features of curves.


# Tasks of which questions are shown; if one model chooses those of all models, none while it has no sample.
TASKS_SHOWN = list(study.tasks) if study.sample.answered_by in (None, *MODELS) else []


rule tabulate_tasks:
    input:
        tasks=expand(f"{RESULTS}/tasks/{{task}}.parquet", task=TASKS_SHOWN),
        chosen=[f"{RESULTS}/{model}/selected.parquet" for model in MODELS if model == study.sample.answered_by],
    output:
        csv=f"{RESULTS}/tables/{{table}}.csv",
        html=TABLE_PAGE,
    log:
        f"{RESULTS}/logs/tabulate_tasks/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_tasks/{{table}}.tsv"
    wildcard_constraints:
        table=get_wildcard_pattern(TASKS_TABLES),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        tasks=TASKS_SHOWN,
        title=lambda wildcards: study.tables[wildcards.table].title,
    script:
        "../workflow_scripts/tabulate_tasks.py"


use rule read_questions as read_table_questions with:
    input:
        unpack(lambda wildcards: get_dataset_files(get_table_dataset(wildcards))),
    output:
        questions=f"{RESULTS}/tables/{{table}}/questions.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/questions.skipped.parquet",
    log:
        f"{RESULTS}/logs/read_table_questions/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_table_questions/{{table}}.tsv"
    params:
        dataset=lambda wildcards: get_table_dataset(wildcards).settings_read(),
        content=lambda wildcards: get_dataset_content(get_table_dataset(wildcards)),


rule sample_groups:
    input:
        questions=f"{RESULTS}/tables/{{table}}/questions.parquet",
    output:
        candidates=f"{RESULTS}/tables/{{table}}/candidates.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/candidates.skipped.parquet",
    log:
        f"{RESULTS}/logs/sample_groups/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_groups/{{table}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        per_group=lambda wildcards: study.tables[wildcards.table].per_group,
        seed=lambda wildcards: study.tables[wildcards.table].seed if study.tables[wildcards.table].per_group else None,
    script:
        "../workflow_scripts/sample_groups.py"


use rule fetch_images as fetch_table_images with:
    input:
        candidates=f"{RESULTS}/tables/{{table}}/candidates.parquet",
        folder=lambda wildcards: get_image_folder(get_table_dataset(wildcards)),
        came=late_images("tables/{table}/asked.parquet", get_table_dataset),
    output:
        questions=f"{RESULTS}/tables/{{table}}/asked.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/asked.skipped.parquet",
    log:
        f"{RESULTS}/logs/fetch_table_images/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_table_images/{{table}}.tsv"
    localrule: True
    params:
        source=lambda wildcards: get_image_source(get_table_dataset(wildcards)),
        available=get_available_images("tables/{table}/candidates.parquet", get_table_dataset),


use rule answer_questions as answer_table with:
    input:
        questions=[f"{RESULTS}/tables/{{table}}/asked.parquet"],
        chosen=[],
        loaded=get_model_loaded,
        note=get_model_note,
    output:
        answers=f"{RESULTS}/tables/{{table}}/answers/{{shard}}.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/answers/{{shard}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/answer_table/{{table}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/answer_table/{{table}}/{{shard}}.tsv"
    params:
        name=lambda wildcards: study.tables[wildcards.table].model,
        model=get_model_settings,
        tasks=lambda wildcards: [wildcards.table],
        images=get_images_content,
        answers_match=study.answers_match,
        code=code_digest(*ANSWERING),


rule tabulate_accuracy:
    input:
        questions=f"{RESULTS}/tables/{{table}}/asked.parquet",
        answers=lambda wildcards: get_table_shards(wildcards.table),
        skipped=expand(
            f"{RESULTS}/tables/{{{{table}}}}/{{stage}}.skipped.parquet", stage=("questions", "candidates", "asked")
        ),
        not_answered=lambda wildcards: get_table_shards(wildcards.table, ".skipped.parquet"),
    output:
        csv=f"{RESULTS}/tables/{{table}}.csv",
        html=TABLE_PAGE,
        skipped=f"{RESULTS}/tables/{{table}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/tabulate_accuracy/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_accuracy/{{table}}.tsv"
    wildcard_constraints:
        table=get_wildcard_pattern(study.accuracy_tables),
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        title=lambda wildcards: study.tables[wildcards.table].title,
        model=lambda wildcards: study.tables[wildcards.table].model,
    script:
        "../workflow_scripts/tabulate_accuracy.py"


rule tabulate_curve_features:
    input:
        curve_features=lambda wildcards: f"{RESULTS}/summary/{study.tables[wildcards.table].probe}.curve-features.parquet",
    output:
        csv=f"{RESULTS}/tables/{{table}}.csv",
        html=TABLE_PAGE,
    log:
        f"{RESULTS}/logs/tabulate_curve_features/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_curve_features/{{table}}.tsv"
    wildcard_constraints:
        table=get_wildcard_pattern(CURVE_FEATURE_TABLES),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        kind=lambda wildcards: study.probes[study.tables[wildcards.table].probe].kind,
        title=lambda wildcards: study.tables[wildcards.table].title,
    script:
        "../workflow_scripts/tabulate_curve_features.py"
