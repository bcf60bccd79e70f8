# Pictures with captions that come from elsewhere; as with other downloads, fetched where Snakemake itself runs.


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
