# Summaries become figures, and figures become the page of the report.


# The first text of `snakemake --report report.html`.
report: "../workflow_scripts/captions/workflow.rst"


rule draw_figure:
    input:
        summary=lambda wildcards: f"{RESULTS}/summary/{get_figure_probe(wildcards)}.parquet",
        curve_features=get_figure_curve_features,
        rows=lambda wildcards: get_example_files(wildcards, "{model}/{probe}/{task}.parquet"),
        views=lambda wildcards: get_example_files(wildcards, "figures/{figure}/{model}/{task}.views.parquet"),
    output:
        html=report(
            f"{RESULTS}/figures/{{figure}}/{{model}}.html",
            caption="../workflow_scripts/captions/figure.rst",
            category="Figures",
            subcategory="{figure}",
            labels={"model": "{model}"},
        ),
        svg=f"{RESULTS}/figures/{{figure}}/{{model}}.svg",
        png=f"{RESULTS}/figures/{{figure}}/{{model}}.png",
        narrow=f"{RESULTS}/figures/{{figure}}/{{model}}-narrow.svg",
    log:
        f"{RESULTS}/logs/draw_figure/{{figure}}/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{figure}}/{{model}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        figure=lambda wildcards: study.figures[wildcards.figure].model_dump(mode="json"),
        probe=lambda wildcards: study.probes[get_figure_probe(wildcards)].model_dump(mode="json"),
        tasks=get_figure_tasks,
    script:
        "../workflow_scripts/draw_figure.py"


# Files that users read; each is a target of `rule all`, so that a deleted one is made again.
SHOWN_FILES = {
    "accuracy": f"{RESULTS}/summary/answers.parquet",
    "skipped": f"{RESULTS}/summary/skipped.parquet",
    "cost": f"{RESULTS}/summary/cost.parquet",
    "summaries": expand(f"{RESULTS}/summary/{{probe}}.parquet", probe=study.probes),
    "curve_features": expand(f"{RESULTS}/summary/{{probe}}.curve-features.parquet", probe=CURVE_FEATURE_PROBES),
    "figures": [
        f"{RESULTS}/figures/{name}/{model}{ending}"
        for name in study.figures
        for model in get_drawn_models(name)
        for ending in (".html", ".svg", ".png", "-narrow.svg")
    ],
    "sheets": get_paths(IMAGE_MODEL_TASKS, "{model}/sheets/{task}.png"),
    "tables": expand(f"{RESULTS}/tables/{{table}}.csv", table=SHOWN_TABLES),
    "table_pages": expand(f"{RESULTS}/tables/{{table}}.html", table=SHOWN_TABLES),
}


rule write_report:
    input:
        **SHOWN_FILES,
        questions=f"{RESULTS}/questions.parquet",
        answers=get_paths(MODEL_TASKS, "{model}/answers/{task}.parquet"),
        task_questions=expand(f"{RESULTS}/questions/{{task}}.parquet", task=OWN_TASKS),
    output:
        report=report(
            f"{RESULTS}/index.html",
            caption="../workflow_scripts/captions/page.rst",
            category="Report",
            labels={"study": study.study},
        ),
    log:
        f"{RESULTS}/logs/write_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_report.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        study=study.model_dump(mode="json"),
        own_tasks=OWN_TASKS,
        model_tasks=MODEL_TASKS,
        curve_features=CURVE_FEATURE_PROBES,
        drawn={name: get_drawn_models(name) for name in study.figures},
        tables=SHOWN_TABLES,
        left_out=LEFT_OUT,
    script:
        "../workflow_scripts/write_report.py"


scattergather:
    **{name: table.shards for name, table in study.accuracy_tables.items()},


# Tasks of which questions are shown; if one model answers for all, only those with a sample of its answers.
TASKS_SHOWN = [task for task in study.tasks if not is_left_out(LEFT_OUT, study.sample.answered_by, task)]


rule tabulate_tasks:
    input:
        tasks=expand(f"{RESULTS}/tasks/{{task}}.parquet", task=TASKS_SHOWN),
        chosen=[
            f"{RESULTS}/{study.sample.answered_by}/selected/{task}.parquet"
            for task in TASKS_SHOWN
            if study.sample.answered_by is not None
        ],
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
        unpack(lambda wildcards: get_table_dataset(wildcards).files()),
    output:
        questions=f"{RESULTS}/tables/{{table}}/questions.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/questions.skipped.parquet",
    log:
        f"{RESULTS}/logs/read_table_questions/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_table_questions/{{table}}.tsv"
    params:
        dataset=lambda wildcards: get_table_dataset(wildcards).settings_read(),


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


rule answer_shard:
    input:
        questions=f"{RESULTS}/tables/{{table}}/asked.parquet",
        model=get_model_files,
    output:
        answers=f"{RESULTS}/tables/{{table}}/answers/{{scatteritem}}.parquet",
        skipped=f"{RESULTS}/tables/{{table}}/answers/{{scatteritem}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/answer_shard/{{table}}/{{scatteritem}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/answer_shard/{{table}}/{{scatteritem}}.tsv"
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
        name=lambda wildcards: study.tables[wildcards.table].model,
    script:
        "../workflow_scripts/answer_shard.py"


rule tabulate_accuracy:
    input:
        questions=f"{RESULTS}/tables/{{table}}/asked.parquet",
        answers=lambda wildcards: getattr(gather, wildcards.table)(
            f"{RESULTS}/tables/{wildcards.table}/answers/{{scatteritem}}.parquet"
        ),
        skipped=lambda wildcards: [
            f"{RESULTS}/tables/{wildcards.table}/{stage}.skipped.parquet"
            for stage in ("questions", "candidates", "asked")
        ]
        + getattr(gather, wildcards.table)(
            f"{RESULTS}/tables/{wildcards.table}/answers/{{scatteritem}}.skipped.parquet"
        ),
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
