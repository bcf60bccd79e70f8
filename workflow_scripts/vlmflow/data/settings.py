"""Where questions and pictures come from."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from vlmflow.settings import HUB_ID, ModelName, Revision, Sha256, Strict, Url

from .sources import (
    AOKVQA_URL,
    COCO_CAPTIONS_URL,
    COCO_URL,
    GQA_URL,
    OKVQA_URL,
    PAPER_QUESTIONS,
    PAPER_QUESTIONS_URL,
    REGIONS_URL,
    WINOGROUND,
)

FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*\.csv$")]


def _check_archive(url: str) -> str:
    if not urlsplit(url).path.endswith((".tar.gz", ".tgz", ".zip")):
        raise ValueError(f"{url!r} is no address of a .tar.gz or .zip archive")
    return url


def _check_zip(url: str) -> str:
    if not urlsplit(url).path.endswith(".zip"):
        raise ValueError(f"{url!r} is no address of a .zip archive")
    return url


Place = Annotated[Path, AfterValidator(Path.expanduser)]
Prompt = Annotated[str, Field(pattern=r"\S", description="What is asked of every picture.")]
DESCRIBE_PICTURE = "Describe the picture in one sentence."


class SyntheticDataset(Strict):
    """Scenes drawn on the spot, with questions of six tasks."""

    source: Literal["synthetic"]
    images: int = Field(600, ge=1, description="How many pictures to draw.")
    seed: int = Field(0, ge=0, description="Another seed, other pictures.")


class GqaDataset(Strict):
    """GQA, or one's own questions written in its layout; what is not given as a file is downloaded."""

    source: Literal["gqa"]
    base_url: Url = Field(GQA_URL, description="Where GQA's three archives lie.")
    split: Literal["train", "val"] = Field("val", description="Of GQA's balanced questions.")
    questions: Place | None = Field(
        None,
        description="JSON: question id → question, answer, types, program; a file (.json, .jsonl, also as .gz) or a "
        "folder of them.",
    )
    scene_graphs: Place | None = Field(
        None, description="JSON: picture → width, height, objects with boxes; a file or a folder, as questions."
    )
    images_dir: Place | None = Field(None, description="Folder of {picture id}.jpg, .png, …, used in place.")
    captions: Literal["visual-genome"] | Place | None = Field(
        None, description="Region descriptions as captions: Visual Genome's, downloaded, or a file in their layout."
    )
    captions_url: Url = Field(REGIONS_URL, description="Where Visual Genome's region descriptions lie.")

    @model_validator(mode="after")
    def _files_come_together(self) -> "GqaDataset":
        if (self.questions is None) != (self.scene_graphs is None):
            missing = "scene_graphs" if self.scene_graphs is None else "questions"
            raise ValueError(f"{missing}: give both files, or neither of them to have GQA's own downloaded")
        if self.questions is not None and self.images_dir is None:
            raise ValueError("images_dir: give the folder with the pictures of your questions")
        return self


class GqaPaperDataset(Strict):
    """The questions that [flow] analyses, as its authors published them, on pictures of GQA."""

    source: Literal["gqa-paper"]
    base_url: Url = Field(PAPER_QUESTIONS_URL, description="Where the question files lie.")
    gqa_url: Url = Field(GQA_URL, description="Where GQA's archive of pictures lies.")
    sha256: dict[FileName, Sha256] = Field(
        PAPER_QUESTIONS, min_length=1, description="File → its checksum; these files are read."
    )
    images_dir: Place | None = Field(None, description="Folder of {picture id}.jpg, .png, …, used in place.")


class OkVqaDataset(Strict):
    """OK-VQA, validation split: open questions that need knowledge, on pictures of COCO 2014."""

    source: Literal["ok-vqa"]
    base_url: Url = Field(OKVQA_URL, description="Where the archives of questions and of annotations lie.")
    coco_url: Url = Field(COCO_URL, description="Where COCO's single pictures lie.")
    images_dir: Place | None = Field(
        None, description="Folder of COCO's pictures, by number or own name, used in place."
    )


class AOkVqaDataset(Strict):
    """A-OKVQA, validation split: open questions that need knowledge, on pictures of COCO 2017."""

    source: Literal["a-okvqa"]
    url: Annotated[Url, AfterValidator(_check_archive)] = Field(
        AOKVQA_URL, description="The archive of questions and answers, a .tar.gz or .zip."
    )
    coco_url: Url = Field(COCO_URL, description="Where COCO's single pictures lie.")
    images_dir: Place | None = Field(
        None, description="Folder of COCO's pictures, by number or own name, used in place."
    )


class CocoCaptionsDataset(Strict):
    """COCO 2017, validation split: pictures to be described, each with a caption that somebody wrote."""

    source: Literal["coco-captions"]
    url: Annotated[Url, AfterValidator(_check_zip)] = Field(
        COCO_CAPTIONS_URL, description="The archive of annotations, a .zip."
    )
    coco_url: Url = Field(COCO_URL, description="Where COCO's single pictures lie.")
    images_dir: Place | None = Field(
        None, description="Folder of COCO's pictures, by number or own name, used in place."
    )
    prompt: Prompt = DESCRIBE_PICTURE


class WinogroundDataset(Strict):
    """Winoground: pairs of pictures to be described, whose captions are the same words in another order.

    It is given out on the Hugging Face hub to those who asked for access.
    """

    source: Literal["winoground"]
    repository: str = Field(WINOGROUND, pattern=f"^{HUB_ID}$", description="Id of the dataset on the hub.")
    revision: Revision | None = Field(None, description="Commit, tag or branch.")
    prompt: Prompt = DESCRIBE_PICTURE


def has_captions(dataset: "Dataset") -> bool:
    """Whether the pictures of a dataset have captions that a model can read in their place.

    A caption that a model is to find itself is no such caption.
    """
    if isinstance(dataset, GqaDataset):
        return dataset.captions is not None
    return isinstance(dataset, SyntheticDataset | GqaPaperDataset)


Dataset = Annotated[
    SyntheticDataset
    | GqaDataset
    | GqaPaperDataset
    | OkVqaDataset
    | AOkVqaDataset
    | CocoCaptionsDataset
    | WinogroundDataset,
    Field(discriminator="source"),
]


class Task(Strict):
    """A subgroup of questions, by GQA's own type names (describe and caption are ours); or all of a dataset."""

    structural: Literal["choose", "compare", "logical", "query", "verify", "describe"] | None = Field(
        None, description="Keep only this structural type."
    )
    semantic: Literal["attr", "cat", "rel", "obj", "global", "caption"] | None = Field(
        None, description="Keep only this semantic type."
    )
    detailed: list[str] | None = Field(None, description="Keep only these detailed types.", min_length=1)
    dataset: Dataset | None = Field(None, description="Another one than the study's.")


class Sample(Strict):
    """Which of a model's correctly answered questions are analysed."""

    per_task: int = Field(1000, ge=1, description="At most so many questions a task.")
    seed: int = Field(0, ge=0)
    candidates: int | None = Field(
        None, ge=1, description="At most so many questions a task are asked at all, and their pictures fetched."
    )
    answered_by: ModelName | None = Field(
        None, description="A model: all models are asked only what is drawn from the questions that it answers rightly."
    )
