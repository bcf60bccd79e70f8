"""GQA, and questions of one's own in its layout."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vlmflow.data.base import Dataset, Download, Files, ImageSource, OwnPath, UserPath, path_of, paths_of
from vlmflow.data.entries import Rows
from vlmflow.data.published_files import question_files
from vlmflow.settings import Url

GQA_URL = "https://downloads.cs.stanford.edu/nlp/data/gqa"
FOLDER = "resources/gqa"
SPLITS = ("train", "val")
# Purpose of a file → the archive that holds it, and its name there.
ARCHIVES = {
    "questions": ("questions1.2.zip", "{split}_balanced_questions.json"),
    "scene_graphs": ("sceneGraphs.zip", "{split}_sceneGraphs.json"),
}

# Region descriptions of Visual Genome, whose images GQA's are.
REGIONS_URL = "https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset/region_descriptions.json.zip"
REGIONS_MEMBER = "region_descriptions.json"
REGIONS_FILE = f"resources/visual-genome/{REGIONS_MEMBER}"


def gqa_images(url: str, images_dir: Path | None) -> ImageSource:
    """Images of GQA: those of the user, or else from its archive at an address."""
    if images_dir is not None:
        return ImageSource(str(images_dir))
    return ImageSource(f"{FOLDER}/images", url, "images.zip", "images/{image_id}.jpg")


def read_in_layout(files: Files) -> Rows:
    """Rows of the tables `questions` and `skipped` from files in GQA's layout, with captions if there are `regions`.

    Raises:
        DatasetError: a file is missing, or is not in this layout.
    """
    from .reader import read_questions  # not at the top: reading a study does not need its parser of large files

    regions = path_of(files, "regions") if files.get("regions") else None
    return read_questions(paths_of(files, "questions"), paths_of(files, "scene_graphs"), regions)


class GqaDataset(Dataset):
    """GQA, or one's own questions written in its layout; files that are not given are downloaded."""

    source: Literal["gqa"]
    base_url: Url = Field(GQA_URL, description="Address of the folder of GQA's three archives.")
    split: Literal["train", "val"] = Field("val", description="Split of GQA's balanced questions.")
    questions: UserPath | None = Field(
        None,
        description="JSON: question id → question, answer, types, program; a file (.json, .jsonl, also as .gz) or a "
        "folder of them.",
    )
    scene_graphs: UserPath | None = Field(
        None, description="JSON: image → width, height, objects with boxes; a file or a folder, as questions."
    )
    images_dir: UserPath | None = Field(None, description="Folder of {image id}.jpg, .png, …, used in place.")
    captions: Literal["visual-genome"] | UserPath | None = Field(
        None, description="Region descriptions as captions: Visual Genome's, downloaded, or a file in their layout."
    )
    captions_url: Url = Field(REGIONS_URL, description="Address of Visual Genome's region descriptions.")

    @model_validator(mode="after")
    def _files_come_together(self) -> "GqaDataset":
        if (self.questions is None) != (self.scene_graphs is None):
            missing = "scene_graphs" if self.scene_graphs is None else "questions"
            raise ValueError(f"{missing}: give both files, or neither; without them, GQA's own files are downloaded")
        if self.questions is not None and self.images_dir is None:
            raise ValueError("images_dir: give the folder with the images of your questions")
        return self

    @property
    def has_captions(self) -> bool:
        """Whether the study file requests region descriptions."""
        return self.captions is not None

    @property
    def _paths(self) -> dict[str, str]:
        """Purpose of a file → the user's file or folder, or else the downloaded file."""
        own = {"questions": self.questions, "scene_graphs": self.scene_graphs}
        paths = {
            what: str(own[what] or f"{FOLDER}/{member.format(split=self.split)}")
            for what, (_, member) in ARCHIVES.items()
        }
        regions = REGIONS_FILE if self.captions == "visual-genome" else self.captions
        return paths | ({"regions": str(regions)} if regions else {})

    def files(self) -> Files:
        """Questions and scene graphs, and region descriptions where the study file requests them."""
        # The inputs are a folder's files, since the folder's own time changes only when a file is added or removed.
        return {what: path if what == "regions" else question_files(path) for what, path in self._paths.items()}

    def downloads(self) -> dict[str, Download]:
        """The files that are members of GQA's archives, or Visual Genome's region descriptions."""
        published = {REGIONS_FILE: Download(self.captions_url, REGIONS_MEMBER)}
        for archive, pattern in ARCHIVES.values():
            for member in (pattern.format(split=split) for split in SPLITS):
                published[f"{FOLDER}/{member}"] = Download(f"{self.base_url}/{archive}", member)
        return {path: published[path] for path in self._paths.values() if path in published}

    def addresses(self) -> dict[str, str]:
        """The addresses of GQA and Visual Genome, if they are fetched."""
        gqa = self.images_dir is None or any(path.startswith(f"{FOLDER}/") for path in self.downloads())
        regions = REGIONS_FILE in self.downloads()
        return ({"GQA": self.base_url} if gqa else {}) | ({"Visual Genome": self.captions_url} if regions else {})

    def image_source(self) -> ImageSource:
        """The user's folder, or GQA's archive of images."""
        return gqa_images(self.base_url, self.images_dir)

    def own_paths(self) -> list[OwnPath]:
        """Questions, scene graphs, captions and images that are the user's."""
        own = (
            self.questions and OwnPath("questions", self.questions, "files"),
            self.scene_graphs and OwnPath("scene_graphs", self.scene_graphs, "files"),
            OwnPath("captions", self.captions, "file") if isinstance(self.captions, Path) else None,
            self.images_dir and OwnPath("images_dir", self.images_dir, "folder"),
        )
        return [each for each in own if each]

    def read(self, files: Files) -> Rows:
        """A row for each question, with its boxes and options."""
        return read_in_layout(files)
