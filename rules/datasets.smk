# Where questions, pictures and captions of each dataset lie, and where they come from.
from snakemake.logging import logger
from vlmflow import sources
from vlmflow.datasets.files import question_files
from vlmflow.study import AOkVqaDataset, CocoCaptionsDataset, GqaDataset, OkVqaDataset

GQA_FOLDER = "resources/gqa"
OKVQA_FOLDER = "resources/ok-vqa"
AOKVQA_FILE = f"resources/a-okvqa/{sources.AOKVQA_MEMBER}"
CAPTIONS_FILE = f"resources/coco/{sources.COCO_CAPTIONS_MEMBER}"
WINOGROUND_FOLDER = "resources/winoground"
REGIONS_FILE = f"resources/visual-genome/{sources.REGIONS_MEMBER}"

# Asked for by name, so that deleting one is enough to ask for access again.
ACCESS_FILES = (
    [f"{WINOGROUND_FOLDER}/access.json"] if any(each.source == "winoground" for each in study.datasets) else []
)

# Tasks with questions of their own.
OWN_TASKS = [name for name, task in study.tasks.items() if task.dataset is not None]


def raw_files(dataset):
    """The files that hold a dataset's questions: drawn by a rule, downloaded by a rule, or the user's own."""
    match dataset.source:
        case "synthetic":
            folder = f"resources/synthetic/{dataset.images}-{dataset.seed}"
            return {
                "questions": f"{folder}/questions.json",
                "scene_graphs": f"{folder}/sceneGraphs.json",
                "regions": f"{folder}/region_descriptions.json",
            }
        case "gqa-paper":
            return {"questions": [f"resources/gqa-paper/{file}" for file in dataset.sha256]}
        case "gqa":
            captions = REGIONS_FILE if dataset.captions == "visual-genome" else dataset.captions
            # Of a folder its files are the input: its own time says only when a file was last added or taken out.
            return {
                "questions": question_files(
                    dataset.questions or f"{GQA_FOLDER}/{dataset.split}_balanced_questions.json"
                ),
                "scene_graphs": question_files(
                    dataset.scene_graphs or f"{GQA_FOLDER}/{dataset.split}_sceneGraphs.json"
                ),
            } | ({"regions": str(captions)} if captions else {})
        case "ok-vqa":
            return {kind: f"{OKVQA_FOLDER}/{member}" for kind, (_, member) in sources.OKVQA_MEMBERS.items()}
        case "a-okvqa":
            return {"questions": AOKVQA_FILE}
        case "coco-captions":
            return {"questions": CAPTIONS_FILE}
        case "winoground":
            return {"questions": f"{WINOGROUND_FOLDER}/examples.jsonl", "access": f"{WINOGROUND_FOLDER}/access.json"}


def reading(dataset):
    """What a dataset's questions depend on besides its files."""
    return dataset.model_dump(mode="json", include={"source", "prompt"})


def picture_source(dataset):
    """Where a dataset's pictures lie, and from where missing ones are fetched."""
    if dataset.source == "synthetic":
        return {"folder": f"resources/synthetic/{dataset.images}-{dataset.seed}/images"}
    if dataset.source == "winoground":
        return {"folder": f"{WINOGROUND_FOLDER}/images"}
    names = {"names": sources.COCO_NAMES} if dataset.source in sources.COCO_PICTURES else {}
    if dataset.images_dir is not None:
        return {"folder": str(dataset.images_dir)} | names
    if dataset.source in sources.COCO_PICTURES:
        name = sources.COCO_PICTURES[dataset.source]
        return {"folder": f"resources/coco/{name.split('/')[0]}", "url": study.coco_url, "name": name} | names
    archive, name = sources.GQA_PICTURES
    return {"folder": f"{GQA_FOLDER}/images", "url": study.gqa_url, "archive": archive, "name": name}


def picture_folder(dataset):
    """A folder of pictures that has to be there before the job; none where the job fetches them."""
    source = picture_source(dataset)
    return [] if "url" in source else [source["folder"]]


ASKED_AGAIN = set()


def came_later(pattern, dataset_of):
    """A note of the images that were refused by the job that writes this table, and came since; none if none did.

    A job succeeds although some of what its server sent is no image, so that by its files there is nothing to be done.
    These images are asked for again here, when the next run is planned: the job, and all that follows from it, is to run
    again if one of them comes, and only then. A param that differs after each refusal would measure everything anew in
    every run for an image that its server never mends.
    """

    def note(wildcards):
        table = Path(RESULTS, pattern.format(**wildcards))
        came = table.with_suffix(".came.txt")
        if runs():
            ask_again_once(table.with_suffix(".refused.json"), came, dataset_of(wildcards))
        return [str(came)] if came.is_file() else []

    return note


def ask_again_once(note, came, dataset):
    """Snakemake may ask several times for the inputs of a job."""
    if note in ASKED_AGAIN or not note.is_file():
        return
    ASKED_AGAIN.add(note)
    from vlmflow.datasets.fetch import Pictures, ask_again

    logger.warning(ask_again(note, came, Pictures(**picture_source(dataset))))


def task_dataset(task):
    return study.tasks[task].dataset or study.dataset


def table_dataset(table):
    return study.tables[table].dataset or study.dataset


def task_questions(wildcards):
    """The table of questions from which a task is taken."""
    own = wildcards.task in OWN_TASKS
    return f"{RESULTS}/questions/{wildcards.task}.parquet" if own else f"{RESULTS}/questions.parquet"
