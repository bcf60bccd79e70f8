"""Every kind is complete: a part that is missing is found here, and not by whoever runs it first."""

import ast
import re
from functools import cache
from importlib.util import find_spec

import pytest

from support.paths import ROOT
from vlmflow.models.size import LARGE
from vlmflow.probes import PROBES, probe_class
from vlmflow.probes.chapters import Chapter

TESTS = ROOT / "tests"
# What a study file must say of a kind that has no defaults.
REQUIRED = {
    "knockout": {"edges": ["image -> last"]},
    "heads": {"zero": ["last"]},
    "pathway": {"search": {}},
    "words": {"modules": ["mlp"]},
    "pruning": {"layers_dropped": [0, 2]},
}


@cache
def marked(marker):
    """The kinds that a test carries as `@pytest.mark.<marker>("kind")`."""
    kinds = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{marker}":
                    kinds.update(argument.value for argument in decorator.args)
    return kinds


# --- probes ---

every_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind_name())


def settings_of(probe):
    return probe(kind=probe.kind_name(), **REQUIRED.get(probe.kind_name(), {}))


def test_the_registry_has_every_folder_of_a_probe_once():
    assert len({probe.kind_name() for probe in PROBES}) == len(PROBES)
    assert len({probe.table.name for probe in PROBES}) == len(PROBES)
    assert all(probe_class(probe.kind_name()) is probe for probe in PROBES)
    folders = {path.parent.name for path in (ROOT / "workflow_scripts/vlmflow/probes").glob("*/measure.py")}
    assert {probe.__module__ for probe in PROBES} == {f"vlmflow.probes.{folder}" for folder in folders}


@every_probe
def test_a_probe_has_a_docstring_and_a_row_in_the_docs(probe):
    assert probe.__doc__
    assert probe.__doc__ != probe.__base__.__doc__
    text = (ROOT / "docs" / "study.md").read_text()
    assert re.search(rf"^\| `{probe.kind_name()}` \|", text, re.MULTILINE), "docs/study.md has no row for this kind"


@every_probe
def test_a_probe_has_its_chapter_of_the_report(probe):
    assert isinstance(probe.chapter, Chapter)


@every_probe
def test_a_probe_has_its_tables(probe):
    assert {"question_id", "image_id"} <= set(probe.table.columns)
    averaging, summary = probe.averaging, probe.summary_table()
    assert averaging.quantities
    assert {"model", "task", *averaging.by, "mean", "low", "high", "questions", "images", "note"} <= set(
        summary.columns
    )
    assert averaging.line in (None, *averaging.by)
    assert ("quantity" in averaging.by) == (len(averaging.quantities) > 1)
    if probe.features is not None:
        assert {"model", "task", "questions", "images"} <= set(probe.features.table.columns)
        assert len(probe.features.find(probe.table.frame([]), "m", "T")) == 0


@every_probe
def test_a_probe_has_a_cost(probe):
    work = settings_of(probe).cost(LARGE, 1000)
    assert work.forwards > 0
    assert work.passes > 0


@every_probe
def test_a_probe_measures(probe):
    assert find_spec(f"{probe.__module__}.measure")
    tree = ast.parse((ROOT / "workflow_scripts" / probe.__module__.replace(".", "/") / "measure.py").read_text())
    (measure,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "measure")
    assert [argument.arg for argument in measure.args.args] == ["probe", "context", "question"]
    assert ast.unparse(measure.args.args[0].annotation) == probe.__name__


@every_probe
@pytest.mark.parametrize("marker", ["oracle", "planted"])
def test_a_probe_is_compared_with_a_slow_way_and_with_the_truth(probe, marker):
    assert probe.kind_name() in marked(marker), f'no test has @pytest.mark.{marker}("{probe.kind_name()}")'
