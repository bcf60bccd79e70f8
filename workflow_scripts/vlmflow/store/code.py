"""A digest of the code that measures, so that measurements of other code are not taken for its own.

The digest covers a module and every module of the library that it imports, directly or not, wherever in it the import
stands.  Comments, docstrings and layout do not count.  The modules in `NOT_MEASURING` do not count either: a probe's
class names functions that sample its questions and average its rows, but a measurement does not call them.
"""

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vlmflow.tables import WriteError, atomic_write

LIBRARY = Path(__file__).parents[1]
NOT_MEASURING = (
    "analysis/ store/ progress.py data/sampling.py models/diagnose.py models/hub.py models/hub_cache.py models/size.py "
    "probes/cost.py tables/cost.py tables/writing.py"
).split()


@functools.cache
def code_digest(*modules: str) -> str:
    """The digest of modules with everything that they import from the library, as hexadecimal digits.

    Args:
        modules: names, such as "vlmflow.probes.lens.measure".
    """
    digests = [_facts(path)[0] for path in sorted(_closure(modules))]
    _save()
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _closure(modules: tuple[str, ...]) -> set[Path]:
    found: set[Path] = set()
    waiting = [path for name in modules if (path := _file(name)) is not None]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """The files of the modules that a module imports, as far as measurements may depend on them."""
    files = (_file(name) for name in _facts(path)[1])
    return tuple(file for file in files if file is not None and _measures(file))


def _measures(file: Path) -> bool:
    """Whether measurements may depend on a module."""
    return not file.relative_to(LIBRARY).as_posix().startswith(tuple(NOT_MEASURING))


def _file(name: str) -> Path | None:
    """The file of a module of the library; None for any other name, and for the library itself."""
    first, *parts = name.split(".")
    if first != "vlmflow" or not parts:
        return None
    path = LIBRARY.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


# --- facts of single modules, which are kept beside Python's bytecode: parsing all modules would take longer than all
# else of reading a study ---


@functools.cache
def _facts(path: Path) -> tuple[str, list[str]]:
    """(digest of a module's syntax, names that it imports)."""
    content = path.read_bytes()
    # The package is part of it, since relative imports mean other modules elsewhere.
    package = ("vlmflow", *path.relative_to(LIBRARY).parent.parts)
    key = hashlib.sha256(repr((package, sys.version_info[:2])).encode() + content).hexdigest()
    known = _known()
    if key not in known:
        tree = ast.parse(content)
        names = dict.fromkeys(".".join(name) for name in _imported_names(tree, package))
        known[key] = (_syntax_digest(tree), list(names))
        _NEW.append(key)
    digest, imported = known[key]
    return digest, imported


_NEW: list[str] = []


def _cache_file() -> Path:
    return LIBRARY / "store" / "__pycache__" / "code.json"


@functools.cache
def _known() -> dict[str, tuple[str, list[str]]]:
    """Digest of a module's source → its facts, as far as they are kept."""
    try:
        return dict(json.loads(_cache_file().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _save() -> None:
    """Keep new facts for later processes, where Python may keep bytecode."""
    if not _NEW or sys.dont_write_bytecode:
        return
    with suppress(OSError, WriteError), atomic_write(_cache_file()) as temporary:
        temporary.write_text(json.dumps(_known()), encoding="utf-8")
    _NEW.clear()


def _imported_names(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The names that a module of a package imports: of modules, and of what they hold."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield module
            yield from ((*module, alias.name) for alias in node.names)


def _syntax_digest(tree: ast.Module) -> str:
    """The digest of a module's syntax tree without docstrings, which are removed from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
