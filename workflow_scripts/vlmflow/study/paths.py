"""Which folder or file a path in the study file means, and whether it is there."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmflow.data.base import RELATIVE, Dataset
from vlmflow.errors import StudyError
from vlmflow.models.diagnose import read_config
from vlmflow.models.paths import no_folder
from vlmflow.settings import HUB_ID

from . import Study


def check_places(study: Study, made: Callable[[str], bool]) -> None:
    """Whether everything is there that a study takes from the disk: a job without its input is not always planned, and
    then nobody would notice.

    Args:
        study: as read.
        made: whether a rule makes a file of this path, which then need not be there yet.

    Raises:
        StudyError: with a line for each key whose file or folder is missing, or is no model.
    """
    lines = [*_models(study)]
    for place, dataset in _datasets(study):
        lines += [f"  {place}.{key}: {problem}" for key, problem in dataset.check_paths(made)]
    if lines:
        raise StudyError("\n".join([f"what the study file names is not there, in {len(lines)} place(s):", *lines]))


def with_models_of(config: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The study's keys, in which the path of each model that comes with the workflow leads there from every folder.

    The demo's model is named relative to the workflow's folder; another workflow that imports this one runs elsewhere.

    Args:
        config: the study's keys, as parsed and not yet checked.
        home: the workflow's folder.
    """
    models = config.get("models")
    if not isinstance(models, Mapping) or home.resolve() == Path.cwd():
        return dict(config)
    return dict(config) | {"models": {name: _model_of(model, home) for name, model in models.items()}}


def _model_of(model: Any, home: Path) -> Any:
    path = model.get("path") if isinstance(model, Mapping) else None
    if not isinstance(path, str) or Path(path).exists() or not (home / path / "config.json").is_file():
        return model
    return dict(model) | {"path": str(home / path)}


def _models(study: Study) -> Iterator[str]:
    for name, model in study.models.items():
        if model.folder is not None and (problem := _wrong_with(model.path, model.folder)):
            yield f"  models.{name}.path: {problem}"
        if model.template.endswith(".jinja") and not Path(model.template).is_file():
            yield f"  models.{name}.template: there is no file {Path(model.template).absolute()}; {RELATIVE}"


def _wrong_with(path: str, folder: Path) -> str | None:
    """Why there is no model in a folder; None where there may be one."""
    if not folder.is_dir():
        either = ". As an id on the hub it can be taken only where no folder of its first part's name lies here"
        return f"{no_folder(folder)} ({RELATIVE}){either if re.fullmatch(HUB_ID, path) else ''}"
    if not (folder / "config.json").is_file():
        return (
            f"there is no model in {path} ({path}/config.json is missing); give a folder as `save_pretrained` writes "
            "it, or a hub id"
        )
    try:
        read_config(folder)
    except ValueError as error:
        return str(error)
    return None


def _datasets(study: Study) -> Iterator[tuple[str, Dataset]]:
    yield "dataset", study.dataset
    for name, task in study.tasks.items():
        if task.dataset is not None:
            yield f"tasks.{name}.dataset", task.dataset
    for name, table in study.accuracy_tables.items():
        if table.dataset is not None:
            yield f"tables.{name}.dataset", table.dataset
