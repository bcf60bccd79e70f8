"""Every chart with long names, ten edges and twelve tasks: no text is cut, outside of the figure, or on another."""

import functools
import re

import polars as pl
import pytest
import yaml

from support.crowded import MODEL, TASKS, crowded, crowded_summary
from support.image_frames import (
    ATTENTION_MAP_PROBE,
    EXAMPLES,
    LENS_PROBE,
    OCCLUSION_PROBE,
    attention_map_rows,
    lens_rows,
    view,
)
from support.paths import ROOT
from vlmflow.figures import CHARTS, FigureData, Layout
from vlmflow.figures.drawing import draw
from vlmflow.figures.save import save
from vlmflow.study import read_study
from vlmflow.tables import VIEWS

pytestmark = pytest.mark.slow

STUDIES = ("config.yaml", "studies/demo-appendix.yaml", "studies/demo-phase.yaml", "studies/demo-causal.yaml")
TITLE = "A long title of a figure that shows what reaches the position from which the answer is predicted"
NARROW = 540  # pixels at most: a phone shows this at two thirds of its size


@functools.cache
def figures():
    """(kind of chart, kind of probe) → the first figure of the demos with them, and its probe."""
    found = {}
    for file in STUDIES:
        study = read_study(yaml.safe_load((ROOT / file).read_text()), file)
        for figure in study.figures.values():
            probe = study.probes[figure.probe]
            found.setdefault((figure.kind(), probe.kind), (figure, probe))
    return found


def only_task(tab, path, task):
    """The figure of which the report's menu of tasks has taken out the panels of all other tasks."""
    tab.page.goto("about:blank")
    templates = ROOT / "workflow_scripts/vlmflow/report/templates"
    for script in ("_elements.js", "_task_menu.js"):
        tab.page.add_script_tag(content=(templates / script).read_text())
    return tab.page.evaluate(
        """([text, task, tasks]) => {
          const drawing = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
          onlyTask(drawing, task, tasks);
          return new XMLSerializer().serializeToString(drawing);
        }""",
        [path.read_text(), task, TASKS],
    )


def test_every_chart_is_here():
    assert {kind for kind, _ in figures()} == {chart.kind() for chart in CHARTS}


def crowded_examples(probe):
    """Single questions of all tasks with long words, and what the probe has measured of them."""
    rows, views = {}, {}
    for task in TASKS:
        question = "Is the thing to the left of the other thing that stands there red or is it blue?"
        if probe is LENS_PROBE:
            found = lens_rows("1", [*["Diamond", "circles", "</s>", "of"] * 9], layers=range(-1, 30))
            views[task] = VIEWS.frame([view("1", 6, 6, question=question, task=task)])
        elif probe is OCCLUSION_PROBE:
            found = [{"question_id": "1", "image_id": "1", "grid": 2, "loss": 1.0, "loss_increase": [0.5, 1, 2, -1]}]
            views[task] = VIEWS.frame([view("1", question=question, task=task)])
        else:
            found = attention_map_rows("1", layers=range(30))
            views[task] = VIEWS.frame([view("1", question=question, task=task)])
        rows[task] = probe.table.frame([row | {"task": task} for row in found])
    return rows, views


@pytest.mark.parametrize("probe", [ATTENTION_MAP_PROBE, OCCLUSION_PROBE, LENS_PROBE], ids=lambda each: each.kind)
def test_examples_are_not_cut_and_do_not_overlap(probe, tab, tmp_path):
    rows, views = crowded_examples(probe)
    figure = EXAMPLES.model_copy(update={"title": TITLE})
    nothing = pl.DataFrame(schema={"model": pl.String, "mean": pl.Float64})
    data = FigureData(nothing, MODEL, TASKS, rows=rows, views=views)
    for columns in (3, 1):
        path = tmp_path / f"{columns}.svg"
        save(draw(figure, probe, data, Layout(columns)), path)
        found = tab.open(path).measure()
        assert (found["outside"], found["overlapping"]) == ([], [])
        assert columns > 1 or found["width"] <= NARROW


@pytest.mark.parametrize("kinds", [kinds for kinds in figures() if kinds[0] != "examples"], ids="-".join)
def test_nothing_is_cut_or_overlaps(kinds, tab, tmp_path):
    figure, probe = crowded(*figures()[kinds])
    figure = figure.model_copy(update={"title": TITLE})
    data = FigureData(crowded_summary(figure, probe), MODEL, TASKS)
    for columns in (3, 1):
        path = tmp_path / f"{columns}.svg"
        save(draw(figure, probe, data, Layout(columns)), path)
        assert path.stat().st_size > 4000, "it is no message that there is nothing to draw"
        found = tab.open(path).measure()
        assert found["outside"] == []
        assert found["overlapping"] == []
        assert columns > 1 or found["width"] <= NARROW
    text = only_task(tab, tmp_path / "1.svg", TASKS[7])
    (tmp_path / "task.svg").write_text(text)
    found = tab.open(tmp_path / "task.svg").measure()
    assert (found["outside"], found["overlapping"]) == ([], [])
    assert found["width"] <= NARROW
    words = re.sub(r"<[^>]*>|\s", "", text)
    assert TASKS[7] in words
    assert TASKS[6] not in words
