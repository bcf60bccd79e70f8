"""Runs the code in the documentation pages that hold doctests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


@pytest.fixture(autouse=True, scope="session")
def _from_the_root() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[1])
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["notebook.md"], fixtures=["_from_the_root"]
).pytest()
