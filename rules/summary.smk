# From a row a question to means with intervals, and the account of what was left out.


rule summarise_probe:
    input:
        rows=expand(
            f"{RESULTS}/{{model}}/{{{{probe}}}}/{{task}}.parquet",
            model=study.models,
            task=study.tasks,
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
        places=PLACES,
    script:
        "../workflow_scripts/summarise_probe.py"


rule summarise_answers:
    input:
        answers=expand(
            f"{RESULTS}/{{model}}/answers/{{task}}.parquet",
            model=study.models,
            task=study.tasks,
        ),
        selected=expand(
            f"{RESULTS}/{{model}}/selected/{{task}}.parquet",
            model=study.models,
            task=study.tasks,
        ),
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
        questions=f"{RESULTS}/questions.skipped.parquet",
        tasks=expand(
            [
                f"{RESULTS}/candidates/{{task}}.skipped.parquet",
                f"{RESULTS}/tasks/{{task}}.pictures.skipped.parquet",
            ],
            task=study.tasks,
        ),
        stages=expand(
            f"{RESULTS}/{{model}}/{{stage}}/{{task}}.skipped.parquet",
            model=study.models,
            stage=["patches", "answers", "selected", *study.probes],
            task=study.tasks,
        ),
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
