"""The page on the library's rooms names what is there, and no module or function has outgrown its place."""

import ast
import re

import pytest

from support.paths import ROOT

LIBRARY = ROOT / "workflow_scripts" / "vlmflow"
PAGE = (ROOT / "docs" / "house.md").read_text()
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 50
MODULES = sorted(LIBRARY.rglob("*.py"), key=str)


def names_in(path):
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_files_and_names_of_the_page_exist():
    named = re.findall(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", PAGE.split("## Where do I find")[1])
    assert len(named) > 12
    for path, names in named:
        assert set(re.findall(r"\w+", names)) <= names_in(LIBRARY / path), path


def test_every_room_has_a_row():
    rooms = {path.name for path in LIBRARY.iterdir() if not path.name.startswith("__")}
    rows = set(re.findall(r"^\| `([\w.]+)/?` \|", PAGE, re.MULTILINE))
    assert rooms == rows


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LINES_OF_A_FUNCTION, node.name
