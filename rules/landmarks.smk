# What is found on averaged curves, and pictures on which single examples are shown.


rule find_landmarks:
    input:
        rows=lambda wildcards: at(places_of(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.parquet"),
    output:
        landmarks=f"{RESULTS}/summary/{{probe}}.landmarks.parquet",
    log:
        f"{RESULTS}/logs/find_landmarks/{{probe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/find_landmarks/{{probe}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        kind=lambda wildcards: study.probes[wildcards.probe].kind,
        places=lambda wildcards: places_of(wildcards.probe),
    script:
        "../workflow_scripts/find_landmarks.py"


rule tabulate_landmarks:
    input:
        landmarks=lambda wildcards: f"{RESULTS}/summary/{study.tables[wildcards.table].probe}.landmarks.parquet",
    output:
        csv=f"{RESULTS}/tables/{{table}}.csv",
        html=TABLE_PAGE,
    log:
        f"{RESULTS}/logs/tabulate_landmarks/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_landmarks/{{table}}.tsv"
    wildcard_constraints:
        table=one_of(LANDMARK_TABLES),
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        kind=lambda wildcards: study.probes[study.tables[wildcards.table].probe].kind,
        title=lambda wildcards: study.tables[wildcards.table].title,
    script:
        "../workflow_scripts/tabulate_landmarks.py"


rule show_examples:
    input:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        rows=lambda wildcards: f"{RESULTS}/{wildcards.model}/{probe_of(wildcards)}/{wildcards.task}.parquet",
        model=model_files,
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
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        model=processor_settings,
        kind=lambda wildcards: study.probes[probe_of(wildcards)].kind,
        most=lambda wildcards: study.figures[wildcards.figure].questions,
    script:
        "../workflow_scripts/show_examples.py"
