# Summaries become figures, and figures become the page of the report.
from vlmflow.figures.together import compares_models


# The first text of `snakemake --report report.html`.
report: "../workflow_scripts/captions/workflow.rst"


# Once for all figures of all studies: bundling takes longer than drawing.
rule bundle_javascript:
    output:
        libraries="resources/javascript/vega-embed.js",
    log:
        "resources/javascript/bundle.log",
    benchmark:
        "resources/javascript/bundle.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        version=version("vl-convert-python"),
    script:
        "../workflow_scripts/bundle_javascript.py"


rule draw_figure:
    input:
        libraries="resources/javascript/vega-embed.js",
        summary=lambda wildcards: f"{RESULTS}/summary/{get_figure_probe(wildcards)}.parquet",
        curve_features=get_figure_curve_features,
        rows=get_example_rows,
        views=get_example_views,
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
        pdf=f"{RESULTS}/figures/{{figure}}/{{model}}.pdf",
        csv=f"{RESULTS}/figures/{{figure}}/{{model}}.csv",
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
        tasks=lambda wildcards: study.tasks_of(get_figure_probe(wildcards)),
    script:
        "../workflow_scripts/draw_figure.py"


# All models of a figure together, on relative depth.
rule draw_models:
    input:
        libraries="resources/javascript/vega-embed.js",
        summary=lambda wildcards: f"{RESULTS}/summary/{get_figure_probe(wildcards)}.parquet",
        models=lambda wildcards: [f"{RESULTS}/{model}/model.parquet" for model in get_drawn_models(wildcards.figure)],
    output:
        html=report(
            f"{RESULTS}/figures/{{figure}}.html",
            caption="../workflow_scripts/captions/models.rst",
            category="Figures",
            subcategory="{figure}",
            labels={"model": "all models"},
        ),
        svg=f"{RESULTS}/figures/{{figure}}.svg",
        png=f"{RESULTS}/figures/{{figure}}.png",
        narrow=f"{RESULTS}/figures/{{figure}}-narrow.svg",
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        csv=f"{RESULTS}/figures/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/draw_models/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_models/{{figure}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        figure=lambda wildcards: study.figures[wildcards.figure].model_dump(mode="json"),
        probe=lambda wildcards: study.probes[get_figure_probe(wildcards)].model_dump(mode="json"),
        models=lambda wildcards: get_drawn_models(wildcards.figure),
        tasks=lambda wildcards: study.tasks_of(get_figure_probe(wildcards)),
    script:
        "../workflow_scripts/draw_models.py"


rule draw_flow_diagram:
    input:
        libraries="resources/javascript/vega-embed.js",
        stages=f"{RESULTS}/summary/stages.parquet",
    output:
        html=report(
            f"{RESULTS}/flow.html",
            caption="../workflow_scripts/captions/flow.rst",
            category="Report",
            labels={"study": "the flow of information"},
        ),
        svg=f"{RESULTS}/flow.svg",
        png=f"{RESULTS}/flow.png",
        narrow=f"{RESULTS}/flow-narrow.svg",
        pdf=f"{RESULTS}/flow.pdf",
    log:
        f"{RESULTS}/logs/draw_flow_diagram.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_flow_diagram.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        models=MODELS,
    script:
        "../workflow_scripts/draw_flow_diagram.py"


# Tables of which there are Markdown and LaTeX beside the CSV file.
CLAIM_TABLE = ["claims"] if study.claims else []
STAGE_TABLE = ["stages"] if STAGE_PROBES else []
FORMATTED_TABLES = [*SHOWN_TABLES, *CLAIM_TABLE, *STAGE_TABLE]


rule format_table:
    input:
        csv=f"{RESULTS}/tables/{{written}}.csv",
    output:
        markdown=f"{RESULTS}/tables/{{written}}.md",
        latex=f"{RESULTS}/tables/{{written}}.tex",
    log:
        f"{RESULTS}/logs/format_table/{{written}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/format_table/{{written}}.tsv"
    wildcard_constraints:
        written=get_wildcard_pattern(FORMATTED_TABLES),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    script:
        "../workflow_scripts/format_table.py"


FIGURE_ENDINGS = (".html", ".svg", ".png", "-narrow.svg", ".pdf", ".csv")
# Figures of which all models are also drawn together.
FIGURES_TOGETHER = [
    name
    for name, figure in study.figures.items()
    if compares_models(figure, study.probes[figure.probe]) and len(get_drawn_models(name)) > 1
]

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
        for ending in FIGURE_ENDINGS
    ],
    "together": [f"{RESULTS}/figures/{name}{ending}" for name in FIGURES_TOGETHER for ending in FIGURE_ENDINGS],
    "flow": [f"{RESULTS}/flow{ending}" for ending in FIGURE_ENDINGS[:-1]] if STAGE_PROBES else [],
    "stages": [f"{RESULTS}/summary/stages.parquet", f"{RESULTS}/tables/stages.csv"] if STAGE_PROBES else [],
    "sheets": [f"{RESULTS}/{model}/sheets/{task}.png" for model in IMAGE_MODELS for task in TASKS_OF[model]],
    "tables": expand(f"{RESULTS}/tables/{{table}}.csv", table=SHOWN_TABLES),
    "formats": expand(f"{RESULTS}/tables/{{table}}{{ending}}", table=FORMATTED_TABLES, ending=(".md", ".tex")),
    "explorer": [f"{RESULTS}/explorer"] if study.explorer.per_task else [],
    "table_pages": expand(f"{RESULTS}/tables/{{table}}.html", table=SHOWN_TABLES),
    "claims": (
        [f"{RESULTS}/summary/claims.parquet", f"{RESULTS}/tables/claims.csv", f"{RESULTS}/tables/claims.html"]
        if study.claims
        else []
    ),
}


rule write_report:
    input:
        **SHOWN_FILES,
        questions=f"{RESULTS}/questions.parquet",
        answers=get_shards(MODELS, "answers"),
        task_questions=expand(f"{RESULTS}/questions/{{task}}.parquet", task=OWN_TASKS),
        model_facts=expand(f"{RESULTS}/{{model}}/model.parquet", model=MODELS),
    output:
        report=report(
            f"{RESULTS}/index.html",
            caption="../workflow_scripts/captions/page.rst",
            category="Report",
            labels={"study": study.study},
        ),
        provenance=f"{RESULTS}/provenance.json",
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
        models=get_models_of_shards(MODELS),
        model_tasks=MODEL_TASKS,
        curve_features=CURVE_FEATURE_PROBES,
        drawn={name: get_drawn_models(name) for name in study.figures},
        together=FIGURES_TOGETHER,
        explorer="explorer/index.html" if study.explorer.per_task else None,
        tables=SHOWN_TABLES,
        left_out=LEFT_OUT,
    script:
        "../workflow_scripts/write_report.py"
