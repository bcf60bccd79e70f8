"""docs/extending.md, followed step by step in a copy of the repository, where the registries' tests must pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()
STEP = re.compile(r"^`([\w./-]+)`\n\n```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REGISTRIES = (
    "tests/test_registries.py tests/test_rooms.py tests/figures/test_chart_registry.py "
    "tests/data/test_dataset_registry.py tests/prompts/test_layout_registry.py "
    "tests/engine/test_intervention_registry.py tests/models/test_family_patches.py"
).split()
# Of the families, the one whose layout the page adds.
CHOSEN = "not test_family_patches or MiniCPM"
COPIED = ("workflow_scripts", "tests", "docs", "studies", "rules", "resources", "config.yaml", "pyproject.toml")


def change(text, lines):
    """The text with the lines that begin with + behind the line above them, and without those that begin with -."""
    at = None
    for line in lines:
        sign, content = line[:1], line[1:]
        if sign == "+":
            text = text[:at] + content + "\n" + text[at:]
            at += len(content) + 1
            continue
        # An ellipsis stands for the rest of a long line.
        beginning = re.escape(content.removesuffix("…")) + (".*" if content.endswith("…") else "")
        found = [match.span() for match in re.finditer(rf"^{beginning}\n", text, re.MULTILINE)]
        assert len(found) == 1, f"{content!r} stands {len(found)} times in the file"
        ((start, at),) = found
        if sign == "-":
            text, at = text[:start] + text[at:], start
    return text


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with everything that the page adds."""
    folder = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
            ROOT / name, folder / name, **({"ignore": ignored} if (ROOT / name).is_dir() else {})
        )
    steps = STEP.findall(PAGE)
    assert len(steps) == PAGE.count("```python") + PAGE.count("```diff") > 15
    for path, language, block in steps:
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(block if language == "python" else change(file.read_text(), block.splitlines()))
    return folder, [path for path, language, _ in steps if language == "python"]


@pytest.mark.slow
def test_what_the_page_adds_is_complete(extended):
    folder, written = extended
    new_tests = [path for path in written if path.startswith("tests/")]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow_scripts")}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    command = [*command, *REGISTRIES, *new_tests, "-k", CHOSEN]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    for path in new_tests:
        assert path.split("/")[-1] in done.stdout or "passed" in done.stdout


def test_what_the_page_adds_is_in_the_houses_style(extended):
    folder, written = extended
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed here")
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *arguments, *written], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
