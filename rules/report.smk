# What users read: tables in other formats, and the page of the report.


# The first text of `snakemake --report report.html`.
report: "../workflow_scripts/captions/workflow.rst"


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
