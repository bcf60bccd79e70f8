# Downloads. These rules run on the machine on which Snakemake runs, since compute nodes often have no network.

# What rules need to know about datasets; each dataset knows its own files.


def get_task_dataset(wildcards):
    """The dataset from which a task takes its questions."""
    return study.dataset_of_task(wildcards.task)


def get_table_dataset(wildcards):
    """The dataset whose questions are asked for an accuracy table."""
    return study.dataset_of_table(wildcards.table)


def get_image_source(dataset):
    """The folder of a dataset's images, and the source of missing ones."""
    return asdict(dataset.image_source())


def get_image_folder(dataset):
    """A folder of images that a rule makes before the job; none if the job fetches the images, or if the user has them;
    a file that is added to such a folder concerns nobody who does not ask about it."""
    return [folder for folder in dataset.image_source().needed if invocation.makes(folder)]


def get_available_images(pattern, get_dataset):
    """The function of a param: the digest of the names of those images in the user's folder that are asked about."""

    def available(wildcards):
        source = get_dataset(wildcards).image_source()
        own = [folder for folder in source.needed if not invocation.makes(folder)]
        return image_contents.available(f"{RESULTS}/{pattern.format(**wildcards)}", source) if own else None

    return available


REQUESTED_AGAIN = set()


def late_images(pattern, get_dataset):
    """The function of an input: the note of images that the table's job was refused and that came later, if any.

    A job succeeds even if its server sent something else in place of some images, so that Snakemake has no reason to
    run it again. These images are therefore requested once more when the next run is planned. The job and all jobs
    that depend on it run again only if one of them comes. A param that differs after each refusal would repeat all
    measurements in every run because of an image that its server never repairs.
    """

    def note(wildcards):
        table = Path(RESULTS, pattern.format(**wildcards))
        came = table.with_suffix(".came.txt")
        if invocation.runs_jobs:
            request_again_once(table.with_suffix(".refused.json"), came, get_dataset(wildcards))
        return [str(came)] if came.is_file() else []

    return note


def request_again_once(note, came, dataset):
    """Request refused images again, once per run, since Snakemake may call the function of an input several times."""
    if note in REQUESTED_AGAIN or not note.is_file():
        return
    REQUESTED_AGAIN.add(note)
    from vlmflow.data.fetch.images import ask_again

    logger.warning(ask_again(note, came, dataset.image_source()))


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
