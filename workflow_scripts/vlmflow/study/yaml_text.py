"""The study file as it is written: what has to be looked at in the text, since a parsed file no longer shows it."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from vlmflow.errors import StudyError


def check_text(path: str | Path) -> None:
    """Whether a file is YAML in which no key stands twice, of which a parser keeps the last and says nothing.

    Raises:
        StudyError: it is not; the message names file, line and key.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StudyError(f"{path}: this file cannot be read ({error})") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: this is no text in UTF-8 ({error}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StudyError(
            f"{path}{where}: this is no YAML ({error.problem}); look there, and in the line before, for a missing "
            "colon, quote or bracket, or a tab in place of spaces"
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise StudyError(f"{path}: this is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(root, yaml.MappingNode):
        raise StudyError(f"{path}: this holds no keys; write a study as config.yaml is written")
    if lines := [f"  {problem}" for problem in _repeated(root, "", set())]:
        raise StudyError("\n".join([f"{path} has {len(lines)} mistake(s):", *lines]))


def _repeated(node: yaml.Node, place: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:
        return  # an anchor, which may stand in many places
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _repeated(value, f"{place}{number}.", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in first:
            yield f"{place}{name}: this key stands there twice, in lines {first[name]} and {line}; keep one of them"
        first.setdefault(name, line)
        yield from _repeated(value, f"{place}{name}.", seen)
