# What several rules need to know about datasets; each dataset knows its own files.

# Targets of `rule all`, so that deleting one is enough to request access again.
ACCESS_FILES = [f"{folder}/access.json" for folder in study.gated]

# Tasks with questions of their own.
OWN_TASKS = [name for name, task in study.tasks.items() if task.dataset is not None]


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


def get_dataset_files(dataset):
    """The files with a dataset's questions. Of the user's own files the content is a param, so that a file that is
    merely touched is not read again."""

    def judged(paths):
        listed = [paths] if isinstance(paths, (str, Path)) else paths
        return [str(path) if invocation.makes(str(path)) else ancient(str(path)) for path in listed]

    return {key: judged(paths) for key, paths in dataset.files().items()}


def get_dataset_content(dataset):
    """The digest of those files with a dataset's questions that are the user's own."""
    paths = [path for each in dataset.files().values() for path in ([each] if isinstance(each, (str, Path)) else each)]
    return file_contents.of_files([path for path in paths if not invocation.makes(str(path))])


REQUESTED_AGAIN = set()  # notes
REFUSED_AGAIN = {}  # (source, image id) → why this run did not get the image


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

    logger.warning(ask_again(note, came, dataset.image_source(), REFUSED_AGAIN))


def get_task_dataset(wildcards):
    """The dataset from which a task takes its questions."""
    return study.dataset_of_task(wildcards.task)


def get_table_dataset(wildcards):
    """The dataset whose questions are asked for an accuracy table."""
    return study.dataset_of_table(wildcards.table)


def get_questions_of(task):
    """The table of questions from which a task takes its own."""
    return f"{RESULTS}/questions/{task}.parquet" if task in OWN_TASKS else f"{RESULTS}/questions.parquet"
