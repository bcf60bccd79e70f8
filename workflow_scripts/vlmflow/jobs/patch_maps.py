"""The patch maps of a job: declared ones need the processor alone; measured ones are kept in the store."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vlmflow.errors import ForwardError, GeometryError
from vlmflow.models.hub import model_folder
from vlmflow.models.processor import load_processor
from vlmflow.probes.address import PACKAGES
from vlmflow.prompts.layouts.patch_map import PatchMap, View
from vlmflow.prompts.layouts.patch_maps import Measure, PatchMaps
from vlmflow.store.code import code_digest
from vlmflow.store.contents import digest_of
from vlmflow.store.measurements import Collection, Measurement, store_folder
from vlmflow.store.used import note_used
from vlmflow.tables import Column, Table

if TYPE_CHECKING:  # a job whose processor a layout fits needs no model
    from vlmflow.models.vision_language import VisionLanguageModel

MEASURING = ("vlmflow.prompts.measure_layout",)
VIEWS_OF_SIZE = Table(
    "views of an image size",
    {
        "tokens": Column(pl.Int32, "number of the image's tokens"),
        "width": Column(pl.Int32, "of the image, in pixels"),
        "height": Column(pl.Int32, "of the image, in pixels"),
        **{
            field.name: Column(pl.Float64 if field.type is float else pl.Int32, f"{field.name} of the view")
            for field in dataclasses.fields(View)
        },
    },
)


@contextmanager
def open_patch_maps(settings: Mapping[str, Any], table: str | Path) -> Iterator[PatchMaps]:
    """The patch maps of a model; it is loaded, on the CPU, only if a map has to be measured that the store lacks.

    Args:
        settings: of the model, as the rule passes them.
        table: the table of results that the maps are for.
    """
    path = model_folder(settings["path"], settings["fetched"])
    fitting = {"template": settings["template"], "fit": settings["fit"]}
    loaded: list[VisionLanguageModel] = []

    def measure(size: tuple[int, int]) -> PatchMap:
        if not loaded:
            from vlmflow.models.load import load_model

            loaded.append(load_model(path, device="cpu", dtype=settings["dtype"], **fitting))
        return loaded[0].measure_patch_map(size)

    with StoredPatchMaps(settings, measure) as stored:
        yield PatchMaps(load_processor(path, **fitting), stored.measure)
        note_used(store_folder(), table, stored.collection.folder, stored.keys)


class StoredPatchMaps:
    """Measured patch maps of one model, taken from the store where it has them; a context manager."""

    def __init__(self, settings: Mapping[str, Any], measure: Measure) -> None:
        """Take maps from the store, or measure them.

        Args:
            settings: of the model, as rules pass them.
            measure: measures the map of images of a size.
        """
        depends_on = {
            "processor": settings["processor_content"],
            "fit": settings["fit"],
            "code": code_digest(*MEASURING),
            "packages": {name: version(name) for name in PACKAGES},
        }
        self.collection = Collection("patch-maps", depends_on, VIEWS_OF_SIZE)
        self.keys: list[str] = []
        self._measure = measure

    def __enter__(self) -> "StoredPatchMaps":
        return self

    def __exit__(self, *_: object) -> None:
        self.collection.save(whole=True)  # nothing is written where nothing was measured

    def measure(self, size: tuple[int, int]) -> PatchMap:
        """The patch map of images of `size` (width, height).

        Raises:
            GeometryError: the image's tokens are not patches.
        """
        key = digest_of(list(size))
        self.keys.append(key)
        self.collection.load([key])
        kept = self.collection.find(key, lambda _: [])
        if kept is None:
            kept = self._measured(size)
            self.collection.add(key, kept)
        if kept.failure is not None:
            raise GeometryError(kept.failure[1])
        return _patch_map(kept.rows)

    def _measured(self, size: tuple[int, int]) -> Measurement:
        try:
            found = self._measure(size)
        except GeometryError as error:
            if isinstance(error.__cause__, ForwardError):
                raise  # the machine may be the cause, so that it is not kept
            return Measurement(None, failure=(type(error).__name__, str(error)))
        about = {"tokens": found.tokens, "width": size[0], "height": size[1]}
        return Measurement(VIEWS_OF_SIZE.frame([about | dataclasses.asdict(view) for view in found.views]))


def _patch_map(rows: pl.DataFrame | None) -> PatchMap:
    """The patch map of rows of the table `VIEWS_OF_SIZE`."""
    views = [] if rows is None else rows.to_dicts()
    names = [field.name for field in dataclasses.fields(View)]
    first = views[0]
    return PatchMap(
        tuple(View(**{name: view[name] for name in names}) for view in views),
        first["tokens"],
        (first["width"], first["height"]),
    )
