"""Files about the project agree with it: citation, changelog, continuous integration."""

import re
import tomllib

import yaml

from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_and_the_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_checks_of_pull_requests_are_those_of_the_clone():
    """The same pins, and the commands that .ci/run and CONTRIBUTING.md have."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    torch = re.search(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]
    assert commands.count(f"pip install -c constraints.txt {torch}") == len(jobs)
    local = (ROOT / ".ci/run").read_text()
    for check in ("ruff check .", "ruff format --check .", "snakefmt --check Snakefile rules", "mypy"):
        assert check in commands
        assert f".venv/bin/{check}\n" in local
        assert check in (ROOT / "CONTRIBUTING.md").read_text()
