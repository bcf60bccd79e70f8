"""The base class of datasets: files and their addresses, images, and the reader of questions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator

from vlmflow.settings import Strict

from .entries import Rows
from .published_files import problem_with

RELATIVE = "paths are relative to the folder in which snakemake runs, not to the study file"

# The path of a file or folder of the user's.
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
# Purpose of a file → its path, or the paths of several files.
Files = Mapping[str, str | Path | Sequence[str | Path]]


@dataclass(frozen=True)
class Download:
    """The origin of a file.

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
    """The folder of a dataset's images, and the address of missing ones.

    Attributes:
        folder: holds them as {image_id} with the ending of an image, or under one of the `names`.
        url: the address from which missing images are fetched into the folder; None if they are not fetched.
        archive: the zip archive under that address that holds them; None where each has an address of its own.
        name: pattern of an image's name there, with its image_id or, where that is a number, this number.
        names: other patterns of names in the folder, without an ending, for images whose id is a number.
    """

    folder: str
    url: str | None = None
    archive: str | None = None
    name: str = "{image_id}.jpg"
    names: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        """The folder, if it has to exist before images are looked up in it; none where they are fetched into it."""
        return [] if self.url is not None else [self.folder]


@dataclass(frozen=True)
class OwnPath:
    """A file or folder that the study file names.

    Attributes:
        key: the key of the study file that names it.
        path: its path.
        kind: a file; a file or a folder of files; or a folder of images.
    """

    key: str
    path: Path
    kind: Literal["file", "files", "folder"]

    def problem(self) -> str | None:
        """What is wrong with the file or folder; None if nothing is."""
        if not (self.path.is_dir() if self.kind == "folder" else self.path.exists()):
            kind = "folder" if self.kind == "folder" else "file"
            return f"there is no {kind} {self.path.absolute()}; {RELATIVE}"
        if self.kind != "folder" and (problem := problem_with(self.path, folders=self.kind == "files")):
            return f"{self.path.absolute()}: {problem}"
        return None


class Dataset(Strict):
    """The base class of datasets; each kind is a subclass, listed in `AnyDataset`."""

    source: str

    # Settings besides the source on which the rows of the table `questions` depend.
    row_settings: ClassVar[frozenset[str]] = frozenset()
    # All detailed types that its questions can have; None if they are known only once the questions are read.
    detailed_types: ClassVar[tuple[str, ...] | None] = None

    @property
    def has_captions(self) -> bool:
        """Whether the images have captions that a model can read in their place.

        A caption that a model is asked to write does not count.
        """
        return False

    def files(self) -> Files:
        """The files that hold the questions: drawn by a rule, downloaded by a rule, or the user's own."""
        raise NotImplementedError

    def downloads(self) -> dict[str, Download]:
        """Path → origin, for every file that is downloaded by itself."""
        return {}

    def gated(self) -> dict[str, HubDataset]:
        """Folder → the dataset on the hub that is fetched into it, for which access has to be requested."""
        return {}

    def addresses(self) -> dict[str, str]:
        """Publisher → address, for everything that is downloaded: within one study each has one address."""
        return {}

    def image_source(self) -> ImageSource:
        """The folder of the images, and the address of missing ones."""
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
        """The settings on which the questions depend besides the files; a dataset of these settings reads the same
        ones."""
        return self.model_dump(mode="json", include={"source", *self.row_settings})

    def read(self, files: Files) -> Rows:
        """Rows of the tables `questions` and `skipped`: every entry of the files is in one of the two.

        Args:
            files: as the method `files` returns them.

        Raises:
            DatasetError: a file is missing, or is not laid out as this dataset is.
        """
        raise NotImplementedError


def paths_of(files: Files, key: str) -> list[Path]:
    """The paths of the files for one purpose."""
    paths = files[key]
    return [Path(file) for file in ([paths] if isinstance(paths, str | Path) else paths)]


def path_of(files: Files, key: str) -> Path:
    """The path of the only file for one purpose."""
    (path,) = paths_of(files, key)
    return path
