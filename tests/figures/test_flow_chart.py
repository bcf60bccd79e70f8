"""The figure of knockouts along edges: what stands in it, and what is said of it."""

from support.frames import EDGES, FLOW_FIGURE, FLOW_PROBE, TASKS, drawn, interval
from vlmflow.figures import FlowChart
from vlmflow.figures.style import STROKES
from vlmflow.probes import KnockoutProbe


def test_every_value_is_in_the_chart(flow_summary):
    chart = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()
    (rows,) = chart["datasets"].values()
    assert len(rows) == len(flow_summary)
    assert {row["line"] for row in rows} == {"question ↛ last", "image ↛ last"}
    assert chart["facet"]["sort"] == ["Second (n = 7)", "First (n = 7)"]
    assert "n = 7 questions per task, on 5 images" in chart["title"]["subtitle"][0]


def test_an_edge_has_the_same_stroke_in_every_figure(flow_summary):
    both = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()
    one = FlowChart(chart="flow", probe="flow", edges=EDGES[1:])
    alone = drawn(flow_summary, one, FLOW_PROBE, "m", TASKS, columns=2).to_dict()

    def colors(chart):
        scale = chart["spec"]["layer"][2]["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    assert colors(alone).items() <= colors(both).items()
    strokes = STROKES.values()
    assert len({(s.dash, s.shape, s.color) for s in strokes}) >= 6


def test_an_edge_that_was_measured_on_no_question_is_named():
    row = {"task": "First", "edge": EDGES[0], "window": 3, "quantity": "change", "layer": 0}
    rows = KnockoutProbe.summary_table().frame([row | interval(-10.0, multi_token_answers=2)])
    words = FLOW_FIGURE.sentence(FLOW_PROBE, rows, "m")
    assert "image ↛ last could not be measured on any question." in words
    assert "question ↛ last lowers the probability of the model's answer most in First" in words
    drawn(rows, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=2).to_dict()
