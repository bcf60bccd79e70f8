# From summaries to pictures, and from pictures to the page that one reads.


rule draw_figure:
    input:
        summary=lambda wildcards: f"{RESULTS}/summary/{study.figures[wildcards.figure].probe}.parquet",
    output:
        html=report(
            f"{RESULTS}/figures/{{figure}}/{{model}}.html",
            caption="../workflow_scripts/captions/figure.rst",
            category="{figure}",
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
        mem_mb=2000,
        runtime=10,
    params:
        figure=lambda wildcards: study.figures[wildcards.figure].model_dump(mode="json"),
        probe=lambda wildcards: study.probes[study.figures[wildcards.figure].probe].model_dump(mode="json"),
        tasks=list(study.tasks),
    script:
        "../workflow_scripts/draw_figure.py"


rule write_report:
    input:
        questions=f"{RESULTS}/questions.parquet",
        answers=f"{RESULTS}/summary/answers.parquet",
        skipped=f"{RESULTS}/summary/skipped.parquet",
        summaries=[f"{RESULTS}/summary/{probe}.parquet" for probe in study.probes],
        figures=expand(
            f"{RESULTS}/figures/{{figure}}/{{model}}{{ending}}",
            figure=study.figures,
            model=study.models,
            ending=[".html", ".svg", ".png", "-narrow.svg"],
        ),
        sheets=expand(f"{RESULTS}/{{model}}/sheets/{{task}}.png", model=study.models, task=study.tasks),
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=study.tables),
        table_pages=expand(f"{RESULTS}/tables/{{table}}.html", table=study.tables),
    output:
        report=f"{RESULTS}/index.html",
    log:
        f"{RESULTS}/logs/write_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_report.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=study.model_dump(mode="json"),
    script:
        "../workflow_scripts/write_report.py"
