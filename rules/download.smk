# Downloads. These rules run on the machine on which Snakemake runs, since compute nodes often have no network.


rule download:
    output:
        file="resources/{file}",
    log:
        "resources/logs/{file}.log",
    benchmark:
        "resources/logs/{file}.tsv"
    wildcard_constraints:
        file=get_wildcard_pattern(path.removeprefix("resources/") for path in study.downloads),
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(120),
    params:
        source=lambda wildcards: asdict(study.downloads[f"resources/{wildcards.file}"]),
    script:
        "../workflow_scripts/download.py"


rule fetch_images:
    input:
        candidates=f"{RESULTS}/candidates/{{task}}.parquet",
        folder=lambda wildcards: get_image_folder(get_task_dataset(wildcards)),
        came=late_images("tasks/{task}.parquet", get_task_dataset),
    output:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        skipped=f"{RESULTS}/tasks/{{task}}.images.skipped.parquet",
    log:
        f"{RESULTS}/logs/fetch_images/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_images/{{task}}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(240),
    params:
        source=lambda wildcards: get_image_source(get_task_dataset(wildcards)),
        available=get_available_images("candidates/{task}.parquet", get_task_dataset),
    script:
        "../workflow_scripts/fetch_images.py"


rule fetch_model:
    output:
        note="resources/hub/{organisation}/{name}/{revision}.json",
    log:
        "resources/hub/logs/{organisation}/{name}/{revision}.log",
    benchmark:
        "resources/hub/logs/{organisation}/{name}/{revision}.tsv"
    wildcard_constraints:
        organisation="[^/]+",
        name="[^/]+",
    localrule: True
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(600),
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_winoground:
    output:
        access=f"{WINOGROUND}/access.json",
        examples=f"{WINOGROUND}/examples.jsonl",
        images=directory(f"{WINOGROUND}/images"),
    log:
        f"{WINOGROUND}/logs/winoground.log",
    benchmark:
        f"{WINOGROUND}/logs/winoground.tsv"
    localrule: True
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        source=asdict(study.gated[WINOGROUND]) if WINOGROUND in study.gated else None,
    script:
        "../workflow_scripts/fetch_winoground.py"
