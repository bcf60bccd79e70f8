"""Figures of all models together: on relative depth, a panel per task and line, a line per model."""

import polars as pl
import pytest

from support.crowded import TASKS, crowded_summary
from support.frames import EDGES, FLOW_FIGURE, FLOW_PROBE, data_of, panels_of
from vlmflow.figures import HeadsChart, Layout, LensChart, MapChart, PruningChart
from vlmflow.figures.save import save
from vlmflow.figures.style import MODEL_STROKES, model_strokes
from vlmflow.figures.together import DEPTH, MOST_PANELS, compares_models, draw_together, rows_together
from vlmflow.probes import AttentionMapProbe, HeadsProbe, LensProbe, PruningProbe

LAYERS = {"shallow": 4, "deep": 16}


def summary(figure, probe, tasks=TASKS[:2]):
    parts = [
        crowded_summary(figure, probe, tasks, model).filter(pl.col("layer") < count) for model, count in LAYERS.items()
    ]
    return pl.concat(parts)


def test_a_layer_becomes_the_share_of_layers_before_it():
    rows = rows_together(FLOW_FIGURE, FLOW_PROBE, summary(FLOW_FIGURE, FLOW_PROBE), LAYERS)
    assert set(rows["quantity"]) == {"change"}
    for model, count in LAYERS.items():
        own = rows.filter(pl.col("model") == model)
        assert own["depth"].to_list() == pytest.approx((own["layer"] / count).to_list())
    lens, probe = LensChart(chart="lens", probe="p"), LensProbe(kind="lens")
    states = summary(lens, probe).with_columns(layer=pl.col("layer") - 1)
    found = rows_together(lens, probe, states, LAYERS)
    assert found.filter(pl.col("layer") == -1)["depth"].max() == 0, "the embedding has no layer before it"
    assert found.filter(pl.col("model") == "shallow")["depth"].max() == pytest.approx(3 / 4)


def test_a_panel_has_a_line_per_model():
    rows = summary(FLOW_FIGURE, FLOW_PROBE)
    chart = draw_together(FLOW_FIGURE, FLOW_PROBE, rows, LAYERS, TASKS[:2], Layout(3))
    assert len(panels_of(chart)) == 2 * len(EDGES)
    assert set(data_of(chart)["line"]) == set(LAYERS)
    assert DEPTH in str(chart.to_dict())
    assert "'tickMinStep': 0.1" in str(chart.to_dict()), "a share has ticks between 0 and 1"


def test_on_paper_some_panels_are_left_out_and_it_says_so(tmp_path):
    tasks = [f"T{number}" for number in range(MOST_PANELS)]
    rows = summary(FLOW_FIGURE, FLOW_PROBE, tasks)
    chart = draw_together(FLOW_FIGURE, FLOW_PROBE, rows, LAYERS, tasks, Layout(3))
    assert len(panels_of(chart)) == MOST_PANELS
    assert f"{MOST_PANELS} of {2 * MOST_PANELS} panels" in str(chart.to_dict()["title"])
    whole = draw_together(FLOW_FIGURE, FLOW_PROBE, rows, LAYERS, tasks, Layout(3, interactive=True))
    assert len(panels_of(whole)) == 2 * MOST_PANELS


def test_without_rows_there_is_a_sentence(tmp_path):
    rows = summary(FLOW_FIGURE, FLOW_PROBE).clear()
    save(draw_together(FLOW_FIGURE, FLOW_PROBE, rows, LAYERS, [], Layout(3)), tmp_path / "f.svg")
    assert "no question to analyse" in (tmp_path / "f.svg").read_text()


def test_charts_of_lines_over_layers_compare_models_and_no_others():
    assert compares_models(FLOW_FIGURE, FLOW_PROBE)
    assert compares_models(LensChart(chart="lens", probe="p"), LensProbe(kind="lens"))
    pruning = PruningProbe(kind="pruning", layers_dropped=[0, 2])
    assert not compares_models(PruningChart(chart="pruning", probe="p"), pruning), "its x axis is no layer"
    assert not compares_models(MapChart(chart="map", probe="p"), AttentionMapProbe(kind="attention-map"))
    heads = HeadsProbe(kind="heads", edges=["image -> last"])
    assert not compares_models(HeadsChart(chart="heads", probe="p"), heads)


def test_models_have_strokes_of_their_own():
    assert len({(each.color, each.dash) for each in model_strokes(len(MODEL_STROKES))}) == len(MODEL_STROKES)
    assert model_strokes(20)[len(MODEL_STROKES)] == MODEL_STROKES[0]
