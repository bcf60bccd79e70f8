# From a row a question to means with intervals, and the account of what was left out.


rule summarise_probe:
    input:
        rows=lambda wildcards: at(places_of(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.parquet"),
        skipped=lambda wildcards: at(
            places_of(wildcards.probe), f"{{model}}/{wildcards.probe}/{{task}}.skipped.parquet"
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
        mem_mb=4000,
        runtime=20,
    params:
        kind=lambda wildcards: study.probes[wildcards.probe].kind,
        places=lambda wildcards: places_of(wildcards.probe),
    script:
        "../workflow_scripts/summarise_probe.py"


rule summarise_answers:
    input:
        answers=at(PLACES, "{model}/answers/{task}.parquet"),
        selected=at(PLACES, "{model}/selected/{task}.parquet"),
    output:
        summary=f"{RESULTS}/summary/answers.parquet",
    log:
        f"{RESULTS}/logs/summarise_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_answers.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        places=PLACES,
    script:
        "../workflow_scripts/summarise_answers.py"


rule collect_skipped:
    input:
        questions=[f"{RESULTS}/questions.skipped.parquet"]
        + expand(f"{RESULTS}/questions/{{task}}.skipped.parquet", task=OWN_TASKS),
        tasks=expand(
            [
                f"{RESULTS}/candidates/{{task}}.skipped.parquet",
                f"{RESULTS}/tasks/{{task}}.pictures.skipped.parquet",
            ],
            task=study.tasks,
        ),
        answers=at(PLACES, "{model}/answers/{task}.skipped.parquet"),
        selected=at(PLACES, "{model}/selected/{task}.skipped.parquet"),
        patches=at(PICTURE_PLACES, "{model}/patches/{task}.skipped.parquet"),
        probes=[
            table
            for probe in study.probes
            for table in at(places_of(probe), f"{{model}}/{probe}/{{task}}.skipped.parquet")
        ],
        tables=[f"{RESULTS}/tables/{table}.skipped.parquet" for table in study.accuracy_tables],
    output:
        skipped=f"{RESULTS}/summary/skipped.parquet",
    log:
        f"{RESULTS}/logs/collect_skipped.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_skipped.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    script:
        "../workflow_scripts/collect_skipped.py"
