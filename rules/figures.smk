# From summaries to pictures, and from pictures to the page that one reads.


# What `snakemake --report report.html` begins with.
report: "../workflow_scripts/captions/workflow.rst"


rule draw_figure:
    input:
        summary=lambda wildcards: f"{RESULTS}/summary/{probe_of(wildcards)}.parquet",
        landmarks=landmarks_of_figure,
        rows=lambda wildcards: example_files(wildcards, "{model}/{probe}/{task}.parquet"),
        views=lambda wildcards: example_files(wildcards, "figures/{figure}/{model}/{task}.views.parquet"),
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
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        figure=lambda wildcards: study.figures[wildcards.figure].model_dump(mode="json"),
        probe=lambda wildcards: study.probes[probe_of(wildcards)].model_dump(mode="json"),
        tasks=tasks_of_figure,
    script:
        "../workflow_scripts/draw_figure.py"


rule write_report:
    input:
        questions=f"{RESULTS}/questions.parquet",
        accuracy=f"{RESULTS}/summary/answers.parquet",
        answers=at(PLACES, "{model}/answers/{task}.parquet"),
        skipped=f"{RESULTS}/summary/skipped.parquet",
        cost=f"{RESULTS}/summary/cost.parquet",
        summaries=[f"{RESULTS}/summary/{probe}.parquet" for probe in study.probes],
        landmarks=expand(f"{RESULTS}/summary/{{probe}}.landmarks.parquet", probe=LANDMARK_PROBES),
        task_questions=expand(f"{RESULTS}/questions/{{task}}.parquet", task=OWN_TASKS),
        figures=[
            f"{RESULTS}/figures/{name}/{model}{ending}"
            for name in study.figures
            for model in drawn_models(name)
            for ending in (".html", ".svg", ".png", "-narrow.svg")
        ],
        sheets=at(PICTURE_PLACES, "{model}/sheets/{task}.png"),
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=SHOWN_TABLES),
        table_pages=expand(f"{RESULTS}/tables/{{table}}.html", table=SHOWN_TABLES),
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
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        study=study.model_dump(mode="json"),
        own_tasks=OWN_TASKS,
        places=PLACES,
        landmarks=LANDMARK_PROBES,
        drawn={name: drawn_models(name) for name in study.figures},
        tables=SHOWN_TABLES,
        left_out=LEFT_OUT,
    script:
        "../workflow_scripts/write_report.py"
