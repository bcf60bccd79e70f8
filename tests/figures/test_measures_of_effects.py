"""A figure of an intervention shows the measure that it names: rows, axis, caption, sentence and table."""

import polars as pl
import pytest

from support.frames import EDGES, TASKS, drawn, interval
from support.studies import changed_demo
from vlmflow.errors import StudyError
from vlmflow.figures import AtlasChart, FlowChart, WindowsChart
from vlmflow.figures.measures import SHOWN
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.measures import MEASURES
from vlmflow.study import read_study

PROBE = KnockoutProbe(kind="knockout", window=3, edges=EDGES)
MEANS = {"change": -40.0, "margin": -3.0, "log_prob": -0.5, "flips": 30.0}


@pytest.fixture
def summary():
    """Each measure is largest at layer 2, for the first edge."""
    return KnockoutProbe.summary_table().frame(
        [
            {"task": task, "edge": edge, "window": 3, "quantity": name, "layer": layer}
            | interval(mean * (layer == 2 and edge == EDGES[0]), multi_token_answers=2)
            for name, mean in MEANS.items()
            for task in TASKS
            for edge in EDGES
            for layer in range(4)
        ]
    )


def chart_of(kind, **keys):
    edges = {} if kind is AtlasChart else {"edges": EDGES}
    return kind(chart=kind.kind(), probe="p", title="Effects", **edges, **keys)


def test_every_measure_can_be_shown():
    assert tuple(SHOWN) == MEASURES
    assert chart_of(FlowChart).measure == "change"


@pytest.mark.parametrize("kind", [FlowChart, WindowsChart, AtlasChart])
@pytest.mark.parametrize("measure", MEASURES)
def test_a_chart_shows_one_measure(summary, kind, measure):
    figure = chart_of(kind, measure=measure)
    rows = figure.rows(summary, PROBE, "m")
    assert set(rows["quantity"]) == {measure}
    assert figure.axes(PROBE).y_title == SHOWN[measure].y_title
    assert MEANS[measure] in set(pl.DataFrame(_data(drawn(summary, figure, PROBE, "m", TASKS, columns=2)))["mean"])
    text = {"change": "−40.0 %", "margin": "−3.00 nats", "log_prob": "−0.50 nats", "flips": "30.0 %"}[measure]
    assert f"{text} [" in figure.sentence(PROBE, summary, "m")
    assert "around layer 2" in figure.sentence(PROBE, summary, "m")
    cells = figure.effects(PROBE, summary).rows[0]["cells"]
    assert text in {cell["value"] for cell in cells}
    assert figure.caption(PROBE).startswith(SHOWN[measure].caption.split("{")[0])


def _data(chart):
    return next(iter(chart.to_dict()["datasets"].values()))


@pytest.mark.parametrize(("measure", "sign"), [("change", -1), ("flips", 1)])
def test_small_effects_are_described_as_negligible(measure, sign):
    rows = KnockoutProbe.summary_table().frame(
        [
            {"task": TASKS[0], "edge": EDGES[0], "window": 3, "quantity": measure, "layer": layer}
            | interval(0.0, multi_token_answers=0)
            | {"low": min(0, sign * 0.5), "high": max(0, sign * 0.5)}
            for layer in range(3)
        ]
    )
    words = chart_of(FlowChart, measure=measure).sentence(PROBE, rows, "m")
    strongest = SHOWN[measure].strongest.format(answer="the model's answer")
    assert f"{strongest} by at most 1 % in every task" in words


def test_the_caption_names_the_followed_answer_and_the_questions():
    probe = PROBE.model_copy(update={"follow": "false option", "answers": "wrong", "token": "all"})
    caption = chart_of(FlowChart).caption(probe)
    assert "probability of the false option when the edge is knocked out" in caption
    assert "Questions: those that the model answers wrongly." in caption
    assert "the joint one of all of the answer's sub-words" in caption


def test_an_unknown_measure_is_refused():
    with pytest.raises(StudyError, match="'change', 'margin', 'log_prob' or 'flips'"):
        read_study(changed_demo("figures/answer-position/measure", "logits"), "mine.yaml")
