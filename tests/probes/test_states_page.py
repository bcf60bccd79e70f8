"""docs/states.md reads an export as it says, on the files that the demo of its first lines makes."""

import doctest

import polars as pl
import pytest
import yaml

from support.paths import ROOT
from support.scene_files import rows_of
from vlmflow.data import scenes
from vlmflow.probes import StatesProbe
from vlmflow.probes.answer import AnswerRun
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.states.export import export_states
from vlmflow.study import read_study
from vlmflow.tables import ANSWERS, QUESTIONS

FILE = "studies/demo-causal.yaml"


@pytest.fixture
def demo(tmp_path, tiny_llava):
    """The demo's states and answers, for as many questions of each task as its study measures."""
    study = read_study(yaml.safe_load((ROOT / FILE).read_text()), FILE)
    probe = study.probes["states"]
    scenes.write_scenes(tmp_path, images=2 * probe.questions, seed=0)
    table = QUESTIONS.frame(rows_of(tmp_path)[0])
    model = tmp_path / "results" / "demo-causal" / "tiny-llava"
    answering, probing = AnswerRun(tiny_llava, "", study.answers_match), ProbeRun(tiny_llava, probe, "states")
    answers, states = [], []
    for name, task in study.tasks.items():
        chosen = table.filter(structural=task.structural, semantic=task.semantic).head(probe.questions)
        for row in chosen.iter_rows(named=True):
            image = str(tmp_path / "images" / f"{row['image_id']}.png")
            question = Question.of(row | {"task": name, "image": image})
            answers.append(answering.measure(question))
            states.append(probing.measure(question))
    ANSWERS.write(pl.concat(answers), model / "answers" / "1-of-1.parquet")
    StatesProbe.table.write(pl.concat(states), model / "states" / "1-of-1.parquet")
    export = model / "states" / "export"
    export_states([model / "states" / "1-of-1.parquet"], export / "states.safetensors", export / "index.parquet")
    return tmp_path


def test_the_page_reads_the_export(demo, monkeypatch):
    monkeypatch.chdir(demo)
    page = ROOT / "docs" / "states.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted == page.read_text().count("\n>>> ") > 15
    assert found.failed == 0
