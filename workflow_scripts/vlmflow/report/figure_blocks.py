"""The figures of the report, in chapters: one entry for each, with a menu of its models and of its measures."""

import base64
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.figures import Chart, curve_feature_rows
from vlmflow.figures.curve_feature_tables import without_alike
from vlmflow.probes.chapters import Chapter
from vlmflow.study import CurveFeaturesTable, Study

# Bytes of an SVG file above which the page holds the PNG instead: a heat map has a shape for every cell.
LARGE = 1_500_000
TOGETHER = "all models"
# Keys in which the figures of one entry may differ: it has a menu of them.
VARYING = {"title", "measure", "quantity"}


@dataclass(frozen=True)
class FigureFiles:
    """Where the drawn figures lie, and of which models there are any.

    Attributes:
        folder: of all figures.
        drawn: figure → the models for which it is drawn.
        together: the figures that are also drawn of all models together.
    """

    folder: Path
    drawn: Mapping[str, Sequence[str]]
    together: Sequence[str] = ()


def chapters(
    study: Study,
    summaries: Mapping[str, pl.DataFrame],
    curve_features: Mapping[str, pl.DataFrame],
    files: FigureFiles,
    told: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """The chapters with their entries; each entry has a number, and one variant per measure.

    Args:
        study: as the study file has it.
        summaries, curve_features: tables of results, by the names of the probes.
        files: the drawn figures.
        told: sentences that stand elsewhere on the page; none is shown twice.
    """
    results = _Results(summaries, curve_features, set(told))
    entries: dict[Chapter, dict[str, list[str]]] = {chapter: {} for chapter in Chapter}
    for name, figure in study.figures.items():
        probe = study.probes[figure.probe]
        alike = str(sorted(figure.model_dump(mode="json", exclude=VARYING).items()))
        entries[probe.chapter].setdefault(alike, []).append(name)
    number = 0
    shown = []
    for chapter, groups in entries.items():
        blocks = []
        for names in groups.values():
            number += 1
            variants = [_variant(name, study, results, files, first=name == names[0]) for name in names]
            tasks = study.tasks_of(study.figures[names[0]].probe)
            blocks.append({"number": number, "title": variants[0]["title"], "tasks": tasks, "variants": variants})
        if blocks:
            shown.append({"title": str(chapter), "id": chapter.name.lower(), "figures": blocks})
    return shown


@dataclass(frozen=True)
class _Results:
    """The tables of results, and what of them the page has said already.

    Attributes:
        summaries, curve_features: by the names of the probes.
        told: sentences, and names of probes whose curves are described one by one.
    """

    summaries: Mapping[str, pl.DataFrame]
    curve_features: Mapping[str, pl.DataFrame]
    told: set[str]

    def tells(self, text: str) -> bool:
        """Whether the page says this for the first time."""
        new = bool(text) and text not in self.told
        self.told.add(text)
        return new


def _variant(name: str, study: Study, results: _Results, files: FigureFiles, first: bool) -> dict[str, Any]:
    figure: Chart = study.figures[name]
    probe, summary = study.probes[figure.probe], results.summaries[figure.probe]
    models = files.drawn[name]
    effects = figure.effects(probe, summary)
    together = name in files.together
    images = [_image(files.folder, name, TOGETHER, first=first)] if together else []
    images += [
        _image(files.folder / name, f"{name}/{model}", model, first=first and not together and model == models[0])
        for model in models
    ]
    features = results.curve_features.get(figure.probe)
    sentences = {model: figure.sentence(probe, summary, model, features) for model in models}
    return {
        "name": name,
        "title": figure.title or name,
        "caption": figure.caption(probe),
        "images": images,
        # Each number is shown once.
        "sentences": {}
        if figure.table_has_all and effects.lines
        else {model: text for model, text in sentences.items() if results.tells(text)},
        "effects": effects,
        "curves": _curves(figure, study, results),
    }


def _curves(figure: Chart, study: Study, results: _Results) -> dict[str, Any] | None:
    """The phases or knees of a figure's curves: the name of the study's table of them, or the rows of such a table.

    None if the figure shows none, or if an earlier figure had them.
    """
    features = results.curve_features.get(figure.probe)
    if not figure.curve_features_shown or features is None or not results.tells(f"curves of {figure.probe}"):
        return None
    for name, table in study.tables.items():
        if isinstance(table, CurveFeaturesTable) and table.probe == figure.probe:
            return {"table": name, "title": table.title or name}
    shown = curve_feature_rows(study.probes[figure.probe].kind_name(), features)
    return {"table": None, "count": len(shown), "shown": without_alike(shown)}


def _image(folder: Path, link: str, model: str, first: bool) -> dict[str, Any]:
    """The files of a figure of one model, or of all together.

    Args:
        folder: that has the files.
        link: path of the files below the folder of figures, without their endings.
        model: its name, or `TOGETHER`.
        first: whether the page shows it before a reader chooses another one.
    """
    stem = link.rsplit("/", 1)[-1]
    wide, narrow = folder / f"{stem}.svg", folder / f"{stem}-narrow.svg"
    kind = "image/svg+xml"
    if wide.stat().st_size > LARGE:
        wide = narrow = folder / f"{stem}.png"
        kind = "image/png"
    held = data_uri if first else packed
    return {
        "model": model,
        "link": f"figures/{link}",
        "kind": kind,
        "first": first,
        "wide": held(wide),
        "narrow": held(narrow),
    }


def data_uri(path: Path) -> str:
    """An image as a data URI."""
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def packed(path: Path) -> str:
    """A file, compressed, in base64; the page unpacks it when a reader chooses it."""
    return base64.b64encode(gzip.compress(path.read_bytes(), 9, mtime=0)).decode()
