# Summaries become figures.
from vlmflow.figures.together import compares_models


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


FIGURE_ENDINGS = (".html", ".svg", ".png", "-narrow.svg", ".pdf", ".csv")
# Figures of which all models are also drawn together.
FIGURES_TOGETHER = [
    name
    for name, figure in study.figures.items()
    if compares_models(figure, study.probes[figure.probe]) and len(get_drawn_models(name)) > 1
]
