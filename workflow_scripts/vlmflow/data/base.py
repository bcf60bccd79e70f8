"""What every dataset declares: its files, where they come from, its images, and how its questions are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator

from vlmflow.settings import Strict

from .entries import Rows
from .files import problem_with

RELATIVE = "paths are relative to the folder in which snakemake runs, not to the study file"

# A file or folder of the user's.
Place = Annotated[Path, AfterValidator(Path.expanduser)]
# What each file is for → its path, or the paths of several.
Files = Mapping[str, str | Path | Sequence[str | Path]]


@dataclass(frozen=True)
class Download:
    """Where a file comes from.

    Attributes:
        url: of the file, or of the archive that holds it.
        member: the file's name in the archive, in a .tar.gz without its folder; None where there is no archive.
        sha256: the checksum of a file that is in no archive; None where it is not known.
    """

    url: str
    member: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class HubDataset:
    """A dataset of the Hugging Face hub, at a commit, tag or branch (None: its main branch)."""

    repository: str
    revision: str | None = None


@dataclass(frozen=True)
class ImageSource:
    """Where a dataset's images lie, and from where missing ones are fetched.

    Attributes:
        folder: they lie there as {image_id} with the ending of an image, or under one of the `names`.
        url: from where those that are missing are fetched into the folder; nowhere if None.
        archive: the zip archive under that address that holds them; None where each has an address of its own.
        name: what an image is called there, by its image_id or, where that is a number, by this number.
        names: of images whose id is a number, how else they may be called in the folder, without an ending.
    """

    folder: str
    url: str | None = None
    archive: str | None = None
    name: str = "{image_id}.jpg"
    names: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        """The folder, if it has to be there before images are looked up in it; none where they are fetched into it."""
        return [] if self.url is not None else [self.folder]


@dataclass(frozen=True)
class OwnPath:
    """A file or folder that the study file names.

    Attributes:
        key: under which it is named.
        path: where it is to be.
        kind: a file, a file or a folder of files, or a folder of images.
    """

    key: str
    path: Path
    kind: Literal["file", "files", "folder"]

    def problem(self) -> str | None:
        """What is wrong with it, and None where nothing is."""
        if not (self.path.is_dir() if self.kind == "folder" else self.path.exists()):
            kind = "folder" if self.kind == "folder" else "file"
            return f"there is no {kind} {self.path.absolute()}; {RELATIVE}"
        if self.kind != "folder" and (problem := problem_with(self.path, folders=self.kind == "files")):
            return f"{self.path.absolute()}: {problem}"
        return None


class Dataset(Strict):
    """What all datasets have in common; each kind is a class of its own, listed in `AnyDataset`."""

    source: str

    # Settings besides the source on which the rows of the table `questions` depend.
    row_settings: ClassVar[frozenset[str]] = frozenset()

    @property
    def has_captions(self) -> bool:
        """Whether the images have captions that a model can read in their place.

        A caption that a model is asked for does not count.
        """
        return False

    def files(self) -> Files:
        """The files that hold the questions: drawn by a rule, downloaded by a rule, or the user's own."""
        raise NotImplementedError

    def downloads(self) -> dict[str, Download]:
        """Path → where it comes from, for every file that is downloaded by itself."""
        return {}

    def gated(self) -> dict[str, HubDataset]:
        """Folder → the dataset on the hub that is fetched into it, for which access has to be requested."""
        return {}

    def addresses(self) -> dict[str, str]:
        """Publisher → address, for everything that is downloaded: one study takes each from one address."""
        return {}

    def image_source(self) -> ImageSource:
        """Where the images lie, and from where missing ones are fetched."""
        raise NotImplementedError

    def own_paths(self) -> list[OwnPath]:
        """The files and folders of the user's that the study file names."""
        return []

    def check_paths(self, made: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """(key, what is wrong) for each path of the user's that is missing or cannot be read.

        Args:
            made: whether a rule makes a file of this path, which then need not be there yet.
        """
        for own in self.own_paths():
            if not made(str(own.path)) and (problem := own.problem()):
                yield own.key, problem

    def settings_read(self) -> dict[str, Any]:
        """What the questions depend on besides the files: these settings alone make a dataset that reads the same."""
        return self.model_dump(mode="json", include={"source", *self.row_settings})

    def read(self, files: Files) -> Rows:
        """Rows of the tables `questions` and `skipped`: every entry of the files is in one of the two.

        Args:
            files: as `files` names them.

        Raises:
            DatasetError: a file is missing, or is not laid out as this dataset is.
        """
        raise NotImplementedError


def paths_of(files: Files, key: str) -> list[Path]:
    """The paths of the files that are for one purpose."""
    found = files[key]
    return [Path(file) for file in ([found] if isinstance(found, str | Path) else found)]


def path_of(files: Files, key: str) -> Path:
    """The path of the only file that is for one purpose."""
    (path,) = paths_of(files, key)
    return path
