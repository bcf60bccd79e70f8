"""The contents of models' files and of images, as Snakemake's plan has them.

They are params of rules: Snakemake itself judges a large file by its date alone, so that it would take a touched file
for a changed one, and miss a changed file with an older date.
"""

import atexit
import errno
import functools
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import polars as pl

from vlmflow.data.base import ImageSource
from vlmflow.data.images_on_disk import images_on_disk
from vlmflow.models.hub_cache import fetched_digests, find_snapshot
from vlmflow.models.templates import template_file
from vlmflow.store.contents import Contents, contents_note, digest_of
from vlmflow.store.measurements import store_folder
from vlmflow.study.models import Model

WEIGHTS = ".safetensors"
PROCESSOR = {".json", ".jinja", ".model", ".txt"}


@functools.cache
def _contents() -> Contents:
    """The digests of this process, which are kept when it ends."""
    contents = Contents(contents_note(store_folder()))
    atexit.register(contents.save)
    return contents


class ModelContents:
    """The contents of models, as settings that rules pass to their jobs.

    If a hub model has not been fetched yet, methods raise FileNotFoundError with the path of the note that is missing;
    Snakemake then asks again when the note is there.
    """

    def of_processor(self, model: Model) -> dict[str, str]:
        """`processor_content` (all files of a model but its weights) and `template_text`, as digests."""
        return {
            "processor_content": digest_of(self._digests(model, PROCESSOR)),
            "template_text": "" if (path := _template(model)) is None else _contents().digest(path),
        }

    def of_all(self, model: Model) -> dict[str, str]:
        """`content`, the digest of all files of a model."""
        return {"content": digest_of(self._digests(model, PROCESSOR | {WEIGHTS}))}

    def _digests(self, model: Model, endings: set[str]) -> list[tuple[str, str]]:
        """(name, digest) of a model's files with these endings.

        Files that are gone from the hub's cache are as they were when they were fetched: they are fetched again if a
        job needs them, and results that are there need none.
        """
        if model.folder is not None:
            digests = {path.name: _contents().digest(path) for path in _with_endings(model.folder, endings)}
            return sorted(digests.items())
        note = Path(str(model.fetched))
        digests = {name: digest for name, digest in fetched_digests(note).items() if Path(name).suffix in endings}
        with suppress(OSError, ValueError):
            digests |= {path.name: _contents().digest(path) for path in _with_endings(find_snapshot(note)[0], endings)}
        if not digests:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(note))
        return sorted(digests.items())


class FileContents:
    """The contents of the user's own files with questions."""

    def of_files(self, paths: Iterable[str | Path]) -> str:
        """The digest of files, and of all files of folders; for missing ones, of their absence, which is reported
        elsewhere."""
        found = [
            file
            for path in map(Path, paths)
            for file in (sorted(path.iterdir()) if path.is_dir() else [path])
            if file.is_file()
        ]
        return _contents().digest_of_all(found)


class ImageContents:
    """The contents of the images of questions."""

    def of_tables(self, tables: Iterable[str]) -> str:
        """The digest of all images of several tables `task`.

        Raises:
            FileNotFoundError: a table does not exist yet.
        """
        return digest_of([self._of_table(table) for table in tables])

    def available(self, candidates: str, source: ImageSource) -> str:
        """The digest of the names of those images in a folder that candidates ask about.

        Raises:
            FileNotFoundError: the table of candidates does not exist yet.
        """
        os.stat(candidates)  # noqa: PTH116 (Snakemake compares the name in the error)
        ids = pl.read_parquet(candidates, columns=["image_id"])["image_id"].unique().sort()
        return digest_of(sorted(Path(path).name for path in images_on_disk(ids, source).values()))

    def _of_table(self, table: str) -> list[tuple[str, str]]:
        os.stat(table)  # noqa: PTH116 (Snakemake compares the name in the error)
        images = pl.read_parquet(table, columns=["image_id", "image"]).unique().sort("image_id", "image")
        return [(image_id, self._digest(path)) for image_id, path in images.rows()]

    def _digest(self, path: str) -> str:
        try:
            return _contents().digest(path)
        except OSError as error:
            return f"{type(error).__name__}"


def _with_endings(folder: Path, endings: set[str]) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in endings]


def _template(model: Model) -> Path | None:
    """The file of a conversation template; None for the model's own."""
    return None if model.template == "own" else template_file(model.template)
