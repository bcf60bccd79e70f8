# What comes from elsewhere. These rules run where Snakemake itself runs, since compute nodes often have no network.


localrules:
    fetch_gqa,
    fetch_regions,
    fetch_ok_vqa,
    fetch_a_okvqa,
    fetch_paper_questions,
    fetch_pictures,
    fetch_table_pictures,
    fetch_model,


rule fetch_gqa:
    output:
        questions=f"{GQA_FOLDER}/{{split}}_balanced_questions.json",
        scene_graphs=f"{GQA_FOLDER}/{{split}}_sceneGraphs.json",
    log:
        f"{GQA_FOLDER}/logs/{{split}}.log",
    benchmark:
        f"{GQA_FOLDER}/logs/{{split}}.tsv"
    wildcard_constraints:
        split="train|val",
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(120),
    params:
        members=[(f"{study.gqa_url}/{archive}", member) for archive, member in sources.GQA_MEMBERS.values()],
    script:
        "../workflow_scripts/fetch_archived.py"


use rule fetch_gqa as fetch_regions with:
    output:
        regions=REGIONS_FILE,
    log:
        "resources/visual-genome/logs/regions.log",
    benchmark:
        "resources/visual-genome/logs/regions.tsv"
    params:
        members=[(study.source_of(GqaDataset, "captions_url"), sources.REGIONS_MEMBER)],


use rule fetch_gqa as fetch_ok_vqa with:
    output:
        **{kind: f"{OKVQA_FOLDER}/{member}" for kind, (_, member) in sources.OKVQA_MEMBERS.items()},
    log:
        f"{OKVQA_FOLDER}/logs/val.log",
    benchmark:
        f"{OKVQA_FOLDER}/logs/val.tsv"
    params:
        members=[
            (f"{study.source_of(OkVqaDataset, 'base_url')}/{archive}", member)
            for archive, member in sources.OKVQA_MEMBERS.values()
        ],


use rule fetch_gqa as fetch_a_okvqa with:
    output:
        questions=AOKVQA_FILE,
    log:
        "resources/a-okvqa/logs/val.log",
    benchmark:
        "resources/a-okvqa/logs/val.tsv"
    params:
        members=[(study.source_of(AOkVqaDataset, "url"), sources.AOKVQA_MEMBER)],


rule fetch_paper_questions:
    output:
        questions="resources/gqa-paper/{file}.csv",
    log:
        "resources/gqa-paper/logs/{file}.log",
    benchmark:
        "resources/gqa-paper/logs/{file}.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        file=lambda wildcards: study.paper_files[f"{wildcards.file}.csv"],
    script:
        "../workflow_scripts/fetch_paper_questions.py"


rule fetch_pictures:
    input:
        candidates=f"{RESULTS}/candidates/{{task}}.parquet",
        folder=lambda wildcards: picture_folder(task_dataset(wildcards.task)),
        came=came_later("tasks/{task}.parquet", lambda wildcards: task_dataset(wildcards.task)),
    output:
        questions=f"{RESULTS}/tasks/{{task}}.parquet",
        skipped=f"{RESULTS}/tasks/{{task}}.pictures.skipped.parquet",
    log:
        f"{RESULTS}/logs/fetch_pictures/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_pictures/{{task}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    params:
        source=lambda wildcards: picture_source(task_dataset(wildcards.task)),
    script:
        "../workflow_scripts/fetch_pictures.py"


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
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(600),
    script:
        "../workflow_scripts/fetch_model.py"


localrules:
    fetch_coco_captions,
    fetch_winoground,


use rule fetch_gqa as fetch_coco_captions with:
    output:
        captions=CAPTIONS_FILE,
    log:
        "resources/coco/logs/captions.log",
    benchmark:
        "resources/coco/logs/captions.tsv"
    params:
        members=[(study.source_of(CocoCaptionsDataset, "url"), sources.COCO_CAPTIONS_MEMBER)],


rule fetch_winoground:
    output:
        access=f"{WINOGROUND_FOLDER}/access.json",
        examples=f"{WINOGROUND_FOLDER}/examples.jsonl",
        pictures=directory(f"{WINOGROUND_FOLDER}/images"),
    log:
        f"{WINOGROUND_FOLDER}/logs/winoground.log",
    benchmark:
        f"{WINOGROUND_FOLDER}/logs/winoground.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        repository=study.winoground,
    script:
        "../workflow_scripts/fetch_winoground.py"
