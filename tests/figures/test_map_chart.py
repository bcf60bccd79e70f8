"""Maps over the image: panels, colours, and what is said of them."""

import polars as pl
import pytest

from support.frames import cells_of, data_of, drawn, panels_of, specified
from support.image_frames import ATTENTION_MAP_PROBE, MAP, OCCLUSION_PROBE, TASKS, growths
from vlmflow.figures import MapChart
from vlmflow.probes import AttentionMapProbe


def scale_of(chart):
    return specified(chart)["spec"]["encoding"]["color"]["scale"]


def legend_title(chart):
    return specified(chart)["spec"]["encoding"]["color"]["legend"]["title"]


@pytest.mark.parametrize(
    ("figure", "layers", "most", "title"),
    [
        (MAP, [0, 2, 4, 6, 8, 10], 6.2, "Share of the norms, %"),
        (MapChart(chart="map", probe="p", layers=[6, 1]), [1, 6], 6.2, "Share of the norms, %"),
        (MapChart(chart="map", probe="p", layers=[3], target="last"), [3], 31.0, "Share of the norms, %"),
        (MapChart(chart="map", probe="p", quantity="weight", layers=[0]), [0], 6.2, "Attention weight, %"),
    ],
)
def test_maps_of_attention_have_a_panel_per_task_and_layer(attention_map_summary, figure, layers, most, title):
    chart = drawn(attention_map_summary, figure, ATTENTION_MAP_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [f"{task}, layer {layer}" for task in TASKS for layer in layers]
    assert specified(chart)["title"]["subtitle"] == [
        f"m; n = 7 questions per task; attention from {figure.target or 'question'}"
    ]
    rows = data_of(chart)
    assert len(rows) == len(TASKS) * len(layers) * 6
    assert rows["mean"].max() == pytest.approx(most)
    assert legend_title(chart) == title
    assert scale_of(chart)["domain"] == pytest.approx([0, most / 3, 2 * most / 3, most])
    assert scale_of(chart)["range"][0] == "#ffffff"


def test_the_sentence_and_table_of_maps_of_attention_name_the_largest_values(attention_map_summary):
    words = MAP.sentence(ATTENTION_MAP_PROBE, attention_map_summary, "m")
    assert words == (
        "m: question attends to the image most in layer 6 (19 % of the total, other), and to a single patch most in "
        "layer 6 (6.2 %, row 2, column 3, other)."
    )
    cells = cells_of(
        MapChart(chart="map", probe="p", target="last", quantity="weight").effects(
            ATTENTION_MAP_PROBE, attention_map_summary
        )
    )
    assert cells["first", "last: attention weights, percent"] == {
        "value": "124.00",
        "interval": "[123.95, 124.05]",
        "where": "layer 6, row 2, column 3",
    }
    assert len(cells) == len(TASKS)


@pytest.mark.parametrize(
    "figure", [MapChart(chart="map", probe="p", layers=[40]), MapChart(chart="map", probe="p", target="options")]
)
def test_a_map_that_was_not_measured_is_empty_and_explained(attention_map_summary, figure):
    probe = AttentionMapProbe(kind="attention-map", targets=["question", "options"])
    assert "Nothing that the figure shows could be measured." in str(
        specified(drawn(attention_map_summary, figure, probe, "m", TASKS, 3))
    )
    assert figure.sentence(probe, attention_map_summary, "m") == "m: nothing that the figure shows could be measured."
    assert not any(cells_of(figure.effects(probe, attention_map_summary)).values())


@pytest.mark.parametrize(
    ("values", "domain", "white"),
    [
        ([0.0, 0.3, 0.6, 0.9], [0, 0.3, 0.6, 0.9], 0),
        ([-0.02, 0.3, 0.6, 0.9], [0, 0.3, 0.6, 0.9], 0),
        ([-0.2, 0.3, 0.6, 0.8], [-0.8, -0.4, 0, 0.2, 0.4, 0.8], 2),
        ([-0.8, -0.3, 0.1, 0.2], [-0.8, -0.4, 0, 0.2, 0.4, 0.8], 2),
        ([-0.8, -0.3, -0.1, -0.2], [-0.8, -0.4, 0, 0.2, 0.4, 0.8], 2),
        ([0.0, 0.0, 0.0, 0.0], [0, 1 / 3, 2 / 3, 1], 0),
    ],
)
def test_maps_of_occlusion_have_white_where_the_loss_does_not_change(values, domain, white):
    """White is no growth; below it there are colours only where there is something to see."""
    chart = drawn(growths(values), MAP, OCCLUSION_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == TASKS
    assert legend_title(chart) == "Increase of the loss, nats per token"
    assert scale_of(chart)["domain"] == pytest.approx(domain)
    assert scale_of(chart)["range"][white] == "#ffffff"
    assert scale_of(chart)["domain"][white] == 0
    first = data_of(chart).filter(pl.col("panel") == "other").sort("row", "column")
    assert first["mean"].to_list() == values


def test_the_sentence_and_table_of_maps_of_occlusion_name_the_largest_values():
    summary = growths([-0.8, 0.3, 0.1, 0.2])
    assert MAP.sentence(OCCLUSION_PROBE, summary, "m") == (
        "m: the loss increases most without the cell in row 1, column 2, in other: +0.30 [+0.20, +0.40] nats per "
        "token. The interval is above 0 for 1 to 2 of 4 cells, depending on the task."
    )
    cells = cells_of(MAP.effects(OCCLUSION_PROBE, summary))
    assert cells["other", "increase of the loss, nats per token"] == {
        "value": "0.30",
        "interval": "[0.20, 0.40]",
        "where": "row 1, column 2",
    }
