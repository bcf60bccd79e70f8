# Raw files become one table of questions, and that becomes the candidates of each task.


rule render_scenes:
    output:
        questions=f"{SCENES}/questions.json",
        scene_graphs=f"{SCENES}/sceneGraphs.json",
        regions=f"{SCENES}/region_descriptions.json",
        images=directory(f"{SCENES}/images"),
    log:
        f"{SCENES}/render.log",
    benchmark:
        f"{SCENES}/render.tsv"
    wildcard_constraints:
        images=r"\d+",
        seed=r"\d+",
        contrast=r"(-[\d.e-]+)?",
        changed=r"(-changed)?",
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    script:
        "../workflow_scripts/render_scenes.py"


rule read_questions:
    input:
        unpack(lambda wildcards: get_dataset_files(study.dataset)),
    output:
        questions=f"{RESULTS}/questions.parquet",
        skipped=f"{RESULTS}/questions.skipped.parquet",
    log:
        f"{RESULTS}/logs/read_questions.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_questions.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(30),
    params:
        dataset=study.dataset.settings_read(),
        content=lambda wildcards: get_dataset_content(study.dataset),
    script:
        "../workflow_scripts/read_questions.py"


use rule read_questions as read_task_questions with:
    input:
        unpack(lambda wildcards: get_dataset_files(get_task_dataset(wildcards))),
    output:
        questions=f"{RESULTS}/questions/{{task}}.parquet",
        skipped=f"{RESULTS}/questions/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/read_task_questions/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_task_questions/{{task}}.tsv"
    wildcard_constraints:
        task=get_wildcard_pattern(OWN_TASKS),
    params:
        dataset=lambda wildcards: get_task_dataset(wildcards).settings_read(),
        content=lambda wildcards: get_dataset_content(get_task_dataset(wildcards)),


rule select_candidates:
    input:
        questions=lambda wildcards: get_questions_of(wildcards.task),
    output:
        candidates=f"{RESULTS}/candidates/{{task}}.parquet",
        skipped=f"{RESULTS}/candidates/{{task}}.skipped.parquet",
    log:
        f"{RESULTS}/logs/select_candidates/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/select_candidates/{{task}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        task=lambda wildcards: study.tasks[wildcards.task].model_dump(mode="json", exclude={"dataset"}),
        candidates=study.sample.candidates,
        # A sample of all questions is the same with every seed.
        seed=study.sample.seed if study.sample.candidates else None,
    script:
        "../workflow_scripts/select_candidates.py"
