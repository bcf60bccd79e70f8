"""Read a study file, and report its mistakes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlmflow.errors import StudyError
from vlmflow.probes import PROBES

from .study import Study
from .tables import TABLES


def read_study(config: Mapping[str, Any], source: str) -> Study:
    """The study in a parsed YAML file.

    Args:
        config: its keys.
        source: the file's name, for messages.

    Raises:
        StudyError: with a line for each mistake.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        lines = [f"  {_key_path(problem['loc'])}{_message(problem)}" for problem in error.errors()]
        raise StudyError("\n".join([f"{source} has {len(lines)} mistake(s):", *lines])) from None


def _key_path(location: tuple[str | int, ...]) -> str:
    """The keys as the user wrote them, without the kind names that pydantic inserts."""
    keys = [str(part) for part in location if part != "[key]"]
    kind = {"dataset": 1, "probes": 2, "figures": 2, "tables": 2}.get(keys[0]) if keys else None
    if kind is not None and len(keys) > kind:
        del keys[kind]
    if keys[:1] in (["tables"], ["tasks"]) and keys[2:3] == ["dataset"] and len(keys) > 3:
        del keys[3]
    if "window" in keys:  # a single window is a list of one, and either a number or a share
        place = keys.index("window") + 1
        keys[place:] = [key for key in keys[place:] if not key.isdigit() and not key.startswith("[")]
    return f"{'.'.join(keys)}: " if keys else ""


def _message(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return "there is no such key here; check the spelling, or remove it"
        case "union_tag_invalid" if new := _renamed_kind(problem["ctx"]["tag"]):
            return f"{problem['ctx']['discriminator'].strip(chr(39))}: {problem['ctx']['tag']} is now called {new}"
        case "missing":
            return "this key is missing"
        case "value_error":
            return message
    given = problem.get("input")
    return message if isinstance(given, dict) else f"{message}, but it is {given!r}"


def _renamed_kind(name: str) -> str | None:
    """The present name of a kind of probe or table; None for a name that was never used."""
    probes = {old: new.kind_name() for new in PROBES for old in new.former_kinds}
    tables = {old: new.kind() for new in TABLES for old in new.former_kinds}
    return (probes | tables).get(name)


def write_schema(path: str | Path) -> None:
    """Write the study file's JSON Schema, which editors use to complete and check it."""
    Path(path).write_text(json.dumps(Study.model_json_schema(), indent=2) + "\n", encoding="utf-8")
