# The page of single questions: images as each model receives them, and what the model's probes say of each question.
from vlmflow.report.explored_rows import chosen_edges

# Input of the page → the kind of its probe.
EXPLORED_KINDS = {"curves": "knockout", "track": "lens", "attention": "attention-map", "words": "visual-lens"}
# Input of the page → model → the probe whose rows are shown: the first one of the kind.
EXPLORED_PROBES = {
    name: {
        model: probe
        for probe in reversed([*STAGE_PROBES] if name == "curves" else [*study.probes])
        if study.probes[probe].kind == kind
        for model in get_probe_models(probe)
    }
    for name, kind in EXPLORED_KINDS.items()
}
EXPLORED_SHARDS = {
    name: [path for model, probe in probes.items() for path in get_shards([model], probe)]
    for name, probes in EXPLORED_PROBES.items()
}

# A report in one file cannot hold a folder, and Snakemake refuses to make it.
EXPLORER_FOLDER = directory(f"{RESULTS}/explorer")
if invocation.makes_zipped_report:
    EXPLORER_FOLDER = report(
        directory(f"{RESULTS}/explorer"),
        htmlindex="index.html",
        caption="../workflow_scripts/captions/explorer.rst",
        category="Report",
        labels={"study": "single questions"},
    )


rule view_questions:
    input:
        questions=lambda wildcards: get_task_files(TASKS_OF[wildcards.model]),
        answers=lambda wildcards: get_shards([wildcards.model], "answers"),
        selected=f"{RESULTS}/{{model}}/selected.parquet",
        patches=[f"{RESULTS}/{{model}}/patches.parquet"],
        note=get_model_note,
    output:
        views=f"{RESULTS}/{{model}}/explorer.parquet",
    log:
        f"{RESULTS}/logs/view_questions/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/view_questions/{{model}}.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=get_patches_memory,
        runtime=scaled_by_attempt(60),
    params:
        model=get_processor_settings,
        tasks=lambda wildcards: TASKS_OF[wildcards.model],
        images=get_images_content,
        per_task=study.explorer.per_task,
    script:
        "../workflow_scripts/view_questions.py"


rule write_explorer:
    input:
        libraries="resources/javascript/vega-embed.js",
        questions=[get_questions_of(task) for task in study.tasks],
        answers=get_shards(MODELS, "answers"),
        selected=[f"{RESULTS}/{model}/selected.parquet" for model in MODELS],
        models=[f"{RESULTS}/{model}/model.parquet" for model in MODELS],
        views=[f"{RESULTS}/{model}/explorer.parquet" for model in IMAGE_MODELS],
        skipped=f"{RESULTS}/summary/skipped.parquet",
        summaries=[f"{RESULTS}/summary/{probe}.parquet" for probe in EXPLORED_PROBES["curves"].values()],
        curves=EXPLORED_SHARDS["curves"],
        track=EXPLORED_SHARDS["track"],
        attention=EXPLORED_SHARDS["attention"],
        words=EXPLORED_SHARDS["words"],
    output:
        folder=EXPLORER_FOLDER,
    log:
        f"{RESULTS}/logs/write_explorer.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_explorer.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_rows(4000),
        runtime=scaled_by_attempt(30),
    params:
        study=study.study,
        models=MODELS,
        tasks=list(study.tasks),
        kinds=EXPLORED_KINDS,
        edges={
            model: chosen_edges(study.probes[probe].values_measured("edge"))
            for model, probe in EXPLORED_PROBES["curves"].items()
        },
        owners={
            "answers": get_models_of_shards(MODELS),
            "selected": MODELS,
            "views": IMAGE_MODELS,
            "summaries": list(EXPLORED_PROBES["curves"]),
            **{name: get_models_of_shards(models) for name, models in EXPLORED_PROBES.items()},
        },
    script:
        "../workflow_scripts/write_explorer.py"
