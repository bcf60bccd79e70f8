"""Every chart of the registry has all its parts: settings, probes, axes, caption, sentence, table, docs and a test."""

import functools
import re
import subprocess
import sys
from typing import get_args

import pytest
import yaml

from support.paths import ROOT
from vlmflow.figures import CHARTS, charts_of
from vlmflow.figures.base import SummaryChart
from vlmflow.figures.effects import Reading
from vlmflow.probes import PROBES, probe_class
from vlmflow.study import read_study

STUDIES = ("config.yaml", "studies/demo-appendix.yaml", "studies/demo-phase.yaml", "studies/demo-causal.yaml")
charts = pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.kind())


@functools.cache
def demo_figures():
    """(figure, its probe) of all figures of the demos, which show every chart."""
    studies = [read_study(yaml.safe_load((ROOT / file).read_text()), file) for file in STUDIES]
    return [(figure, study.probes[figure.probe]) for study in studies for figure in study.figures.values()]


def figures_of(chart):
    """The figures of the demos of this chart; each kind of probe that it draws is among them."""
    found = [(figure, probe) for figure, probe in demo_figures() if type(figure) is chart]
    assert {type(probe) for _, probe in found} == set(chart.draws), f"{chart.kind()}: a demo lacks a figure of it"
    return found


def test_the_registry_has_the_chart_of_every_file_once():
    folder = ROOT / "workflow_scripts/vlmflow/figures"
    files = {path.stem for path in folder.glob("*.py") if "    chart: Literal[" in path.read_text()}
    assert {chart.__module__ for chart in CHARTS} == {f"vlmflow.figures.{name}" for name in files}
    assert len({chart.kind() for chart in CHARTS}) == len(CHARTS)


def test_every_probe_can_be_drawn():
    for probe in PROBES:
        (kind,) = get_args(probe.model_fields["kind"].annotation)
        assert charts_of(kind), f"no chart draws the probe {kind}"


@charts
def test_a_chart_is_one_file(chart):
    assert chart.__module__ == f"vlmflow.figures.{chart.kind().replace('-', '_')}"
    assert chart.__doc__
    assert chart.draws
    assert set(chart.draws) <= set(PROBES)


@charts
def test_a_chart_draws_columns_of_its_probe(chart):
    for figure, probe in figures_of(chart):
        if not isinstance(figure, SummaryChart):
            assert figure.examples_per_task
            continue
        summary = probe.summary_table().frame([])
        axes = figure.axes(probe)
        tabulated = figure.tabulated(summary, probe)
        assert {axes.line, axes.x, *axes.panels} <= set(tabulated.columns)
        assert axes.y_title
        assert figure.rows(summary, probe, "m").columns == summary.columns
        assert isinstance(figure.reading, Reading)


@charts
def test_a_chart_has_words(chart):
    """A caption; and, where there is nothing to show, a sentence and a table that say so."""
    for figure, probe in figures_of(chart):
        caption = figure.caption(probe)
        assert caption.endswith(".")
        assert not re.search(r"[{}]|  ", caption)
        assert not re.search(r"\b(pictures?|looks?)\b|\bOf ", caption), caption
        summary = probe.summary_table().frame([])
        said = figure.sentence(probe, summary, "m")
        assert said == ("" if figure.examples_per_task else "m: there was no question to analyse.")
        assert figure.effects(probe, summary).rows == []


@charts
def test_what_is_found_on_curves_can_be_read(chart):
    kinds = set(chart.probe_kinds()) & {each.kind_name() for each in PROBES if each.features is not None}
    assert chart.tabulates_curve_features == bool(kinds)
    for kind in kinds:
        rows = chart.curve_feature_rows(probe_class(kind).features.table.frame([]))
        assert {"Model", "Task"} < set(rows.columns)
        assert any(figure.curve_features_shown for figure, _ in figures_of(chart))


@charts
def test_a_chart_is_in_the_docs_and_drawn_by_a_test(chart):
    (row,) = re.findall(rf"^\| `{chart.kind()}` \|.*$", (ROOT / "docs" / "figures.md").read_text(), re.MULTILINE)
    for kind in chart.probe_kinds():
        assert f"`{kind}`" in row, f"docs/figures.md: the row of {chart.kind()} lacks the probe {kind}"
    files = [*(ROOT / "tests/figures").glob("test_*.py"), *(ROOT / "tests/support").glob("*frames.py")]
    assert any(f"{chart.__name__}(" in file.read_text() for file in files), f"no test draws {chart.kind()}"


def test_reading_a_study_imports_no_drawing():
    code = (
        "import sys, vlmflow.study; print([m for m in ('altair', 'vl_convert', 'torch', 'jinja2') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
