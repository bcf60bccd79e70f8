"""The folders and files to which paths in the study file lead, and checks that they exist."""

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


def check_files(study: Study, is_made: Callable[[str], bool]) -> None:
    """Check that every file and folder that a study names exists.

    Snakemake does not always plan a job whose input is missing, and then reports nothing.

    Args:
        study: the study, as read.
        is_made: whether a rule makes the file with this path; such a file need not exist yet.

    Raises:
        StudyError: with a line for each key whose file or folder is missing, or does not hold a model.
    """
    lines = [*_model_problems(study)]
    for name, dataset in _datasets(study):
        lines += [f"  {name}.{key}: {problem}" for key, problem in dataset.check_paths(is_made)]
    if lines:
        heading = f"files or folders that the study file names are missing, at {len(lines)} key(s):"
        raise StudyError("\n".join([heading, *lines]))


def with_models_of(config: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The study's keys, with a complete path for each model that comes with the workflow.

    The demo's model is named relative to the workflow's folder, but a workflow that imports this one runs in another.

    Args:
        config: the study's keys, as parsed and not yet checked.
        home: the workflow's folder.
    """
    models = config.get("models")
    if not isinstance(models, Mapping) or home.resolve() == Path.cwd():
        return dict(config)
    return dict(config) | {"models": {name: _with_complete_path(model, home) for name, model in models.items()}}


def _with_complete_path(model: Any, home: Path) -> Any:
    path = model.get("path") if isinstance(model, Mapping) else None
    if not isinstance(path, str) or Path(path).exists() or not (home / path / "config.json").is_file():
        return model
    return dict(model) | {"path": str(home / path)}


def _model_problems(study: Study) -> Iterator[str]:
    """A line for each wrong path or template of a model."""
    for name, model in study.models.items():
        if model.folder is not None and (problem := _folder_problem(model.path, model.folder)):
            yield f"  models.{name}.path: {problem}"
        if model.template.endswith(".jinja") and not Path(model.template).is_file():
            yield f"  models.{name}.template: there is no file {Path(model.template).absolute()}; {RELATIVE}"


def _folder_problem(path: str, folder: Path) -> str | None:
    """The reason why a folder cannot hold a model; None if it may hold one."""
    if not folder.is_dir():
        hint = ". It is read as an id on the hub only if no folder here has the name of its first part"
        return f"{no_folder(folder)} ({RELATIVE}){hint if re.fullmatch(HUB_ID, path) else ''}"
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
    """(key, dataset) of every dataset in a study."""
    yield "dataset", study.dataset
    for name, task in study.tasks.items():
        if task.dataset is not None:
            yield f"tasks.{name}.dataset", task.dataset
    for name, table in study.accuracy_tables.items():
        if table.dataset is not None:
            yield f"tables.{name}.dataset", table.dataset
