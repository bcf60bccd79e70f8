"""A digest of the code that measures, so that measurements of other code are not taken for its own.

The digest covers a module and every module of the library that it imports, directly or not, wherever in it the import
stands.  Comments, docstrings and layout do not count.  The modules in `NOT_MEASURING` do not count either: a probe's
class names functions that sample its questions and average its rows, but a measurement does not call them.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

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
    paths = sorted(_closure(modules))
    return hashlib.sha256("\n".join(_syntax_digest(path) for path in paths).encode()).hexdigest()


def _closure(modules: tuple[str, ...]) -> set[Path]:
    found: set[Path] = set()
    waiting = [path for name in modules if (path := _file(tuple(name.split(".")))) is not None]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """The files of the modules that a module imports."""
    package = ("vlmflow", *path.relative_to(LIBRARY).parent.parts)
    files = (_file(name) for name in _imported_names(_tree(path), package))
    return tuple(file for file in files if file is not None and _measures(file))


def _measures(file: Path) -> bool:
    """Whether measurements may depend on a module."""
    return not file.relative_to(LIBRARY).as_posix().startswith(tuple(NOT_MEASURING))


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


def _file(name: tuple[str, ...]) -> Path | None:
    """The file of a module of the library; None for any other name, and for the library itself."""
    if len(name) < 2 or name[0] != "vlmflow":
        return None
    path = LIBRARY.joinpath(*name[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@functools.cache
def _syntax_digest(path: Path) -> str:
    """The digest of a module's syntax tree without docstrings."""
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
