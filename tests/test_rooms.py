"""The rooms of the library stand in one order: a module imports from its own room and from lower ones."""

import ast

import pytest

from support.paths import ROOT

LIBRARY = ROOT / "workflow_scripts" / "vlmflow"
# From the ground up. docs/house.md says what each is for.
ROOMS = (
    "errors progress edges settings own_segments tables store data engine prompts models analysis probes notebook "
    "figures claims study report jobs calibration tiny_llava __init__"
).split()
MODULES = sorted(LIBRARY.rglob("*.py"), key=str)


def room_of(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms that a module imports from, wherever in it the import stands."""
    package = ("vlmflow", *path.relative_to(LIBRARY).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = ".".join((*base, *([node.module] if node.module else [])))
            names = [f"{whole}.{alias.name}" for alias in node.names] if whole == "vlmflow" else [whole]
        else:
            continue
        yield from (parts[1] for name in names if (parts := name.split("."))[0] == "vlmflow" and len(parts) > 1)


def test_every_module_is_in_a_listed_room():
    assert {room_of(path) for path in MODULES} <= set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_no_module_imports_from_a_higher_room(path):
    place = ROOMS.index(room_of(path))
    higher = {room for room in imported_rooms(path) if ROOMS.index(room) > place}
    assert not higher, f"{path.relative_to(LIBRARY)} imports from {', '.join(sorted(higher))}"
