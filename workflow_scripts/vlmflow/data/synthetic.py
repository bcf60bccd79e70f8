"""Scenes that the workflow draws itself, in the layout of GQA."""

from typing import Literal

from pydantic import Field

from .base import Dataset, Files, ImageSource
from .entries import Rows
from .gqa import read_in_layout

# The folder into which the rule `render_scenes` draws them; `contrast` is empty if it is 1, and else begins with -, and
# so does `changed` if scenes are changed.
FOLDER = "resources/synthetic/{images}-{seed}{contrast}{changed}"
CHANGED = "-changed"


class SyntheticDataset(Dataset):
    """Scenes that the workflow draws itself, with questions of six tasks."""

    source: Literal["synthetic"]
    images: int = Field(600, ge=1, description="How many images to draw.")
    seed: int = Field(0, ge=0, description="Another seed gives other images.")
    contrast: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Contrast of the things with the background; below 1 they are paler, so that the demo's model, "
        "which was trained with 1, answers more questions wrongly.",
    )

    changed: bool = Field(
        False,
        description="Draw each scene a second time with one attribute of one thing changed, and ask both for this "
        "attribute: exact counterfactuals for patching, in the task with structural: choose and semantic: attr.",
    )

    @property
    def has_captions(self) -> bool:
        """True: each thing is described in words."""
        return True

    @property
    def folder(self) -> str:
        """The folder of the scenes with these settings."""
        contrast = "" if self.contrast == 1 else f"-{self.contrast}"
        changed = CHANGED if self.changed else ""
        return FOLDER.format(images=self.images, seed=self.seed, contrast=contrast, changed=changed)

    def files(self) -> Files:
        """Questions, scene graphs and region descriptions, as they are drawn."""
        return {
            "questions": f"{self.folder}/questions.json",
            "scene_graphs": f"{self.folder}/sceneGraphs.json",
            "regions": f"{self.folder}/region_descriptions.json",
        }

    def image_source(self) -> ImageSource:
        """The folder into which the images are drawn."""
        return ImageSource(f"{self.folder}/images")

    def read(self, files: Files) -> Rows:
        """A row for each question, read as those of GQA."""
        return read_in_layout(files)
