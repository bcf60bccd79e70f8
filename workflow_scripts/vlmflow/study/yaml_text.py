"""A study from its files, whose text is checked for mistakes that are lost when a file is parsed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlmflow.errors import StudyError

from .read import read_study
from .study import Study


def open_study(config: Mapping[str, Any], files: Sequence[str | Path]) -> Study:
    """The study with the keys that Snakemake has read.

    Args:
        config: the keys.
        files: the files from which the keys come, whose text is checked too; none if the keys were built in Python.

    Raises:
        StudyError: with a line for each mistake.
    """
    for file in files:
        check_text(file)
    return read_study(config, source=", ".join(map(str, files)) or "the configuration of this workflow")


def check_text(path: str | Path) -> None:
    """Check that a file is YAML without repeated keys; a parser would silently keep the last one.

    Raises:
        StudyError: the file is not such YAML; the message names file, line and key.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StudyError(f"{path}: this file cannot be read ({error})") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: this is not text in UTF-8 ({error}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StudyError(
            f"{path}{where}: this is not YAML ({error.problem}); check this line and the line before it for "
            "a missing colon, quote or bracket, or for a tab in place of spaces"
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise StudyError(f"{path}: this is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(root, yaml.MappingNode):
        raise StudyError(f"{path}: this file has no keys; write it like config.yaml")
    if lines := [f"  {problem}" for problem in _repeated(root, "", set())]:
        raise StudyError("\n".join([f"{path} has {len(lines)} mistake(s):", *lines]))


def _repeated(node: yaml.Node, key_path: str, visited: set[int]) -> Iterator[str]:
    """A message for each key that a mapping has twice."""
    if id(node) in visited:
        return  # an anchor, which may be used several times
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _repeated(value, f"{key_path}{number}.", visited)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in first:
            yield f"{key_path}{name}: this key is given twice, in lines {first[name]} and {line}; keep one of them"
        first.setdefault(name, line)
        yield from _repeated(value, f"{key_path}{name}.", visited)
