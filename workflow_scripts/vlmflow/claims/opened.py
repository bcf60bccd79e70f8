"""The sources of a study's claims, from the files of its jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from vlmflow.probes import AnyProbe
from vlmflow.tables import MODEL

from .sources import ANSWERS_ROLE, AnswerSource, ProbeSource, Source


def open_sources(files: Any, params: Any) -> dict[str, Source]:
    """Name of a probe, an accuracy table, or `answers` → its rows.

    Args:
        files: rows, answers, table_answers, table_questions: paths, as the rule `judge_claims` has them.
        params: probes (settings by name), tasks (of each probe), rows (probe and model of each path), answered (model
            of each path) and answered_tasks, tables (table and model of each path).
    """
    sources: dict[str, Source] = dict(open_probe_sources(params, files.rows))
    if params.answered:
        sources[ANSWERS_ROLE] = AnswerSource(_by(params.answered, files.answers), params.answered_tasks)
    questions = dict(zip(dict.fromkeys(table for table, _ in params.tables), files.table_questions, strict=True))
    for (table, model), paths in _by(params.tables, files.table_answers).items():
        sources[table] = AnswerSource({model: paths}, [table], questions[table])
    return sources


def open_probe_sources(params: Any, paths: Sequence[str]) -> dict[str, ProbeSource]:
    """Name of a probe → its rows.

    Args:
        params: probes (settings by name), tasks (of each probe), rows (probe and model of each path).
        paths: of the rows.
    """
    rows = _by(params.rows, paths)
    return {
        name: ProbeSource(
            TypeAdapter(AnyProbe).validate_python(settings),
            {model: own for (probe, model), own in rows.items() if probe == name},
            params.tasks[name],
        )
        for name, settings in params.probes.items()
    }


def open_layers(models: Sequence[str], paths: Sequence[str]) -> dict[str, int]:
    """Model → number of its layers, from the tables `model`."""
    return {model: int(MODEL.read(path)["layers"][0]) for model, path in zip(models, paths, strict=True)}


def _by(names: Sequence[Any], paths: Sequence[str]) -> Mapping[Any, list[str]]:
    """Name → its paths; a list of strings becomes a tuple."""
    found: dict[Any, list[str]] = {}
    for name, path in zip(names, paths, strict=True):
        found.setdefault(name if isinstance(name, str) else tuple(name), []).append(path)
    return found
