"""The calibration: on models whose flow is planted, the whole way from pixels to summary finds it and nothing else."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmflow.analysis.bootstrap import summarise
from vlmflow.calibration.planted import QUESTION, Plant, build_planted, code_word, paint
from vlmflow.edges import FLOW_EDGES, Edge, window_layers

GRID, PATCH = 6, 8
SIDE = GRID * PATCH


@st.composite
def plants(draw):
    layers = draw(st.integers(4, 10))
    stages = sorted(draw(st.lists(st.integers(0, layers - 1), min_size=3, max_size=3, unique=True)))
    kind = draw(st.sampled_from(["through question", "two stages", "direct"]))
    if kind == "through question":
        return Plant.through_question(layers, stages[0], stages[1])
    if kind == "two stages":
        return Plant.two_stages(layers, *stages)
    return Plant.direct(layers, stages[0])


@st.composite
def scenes(draw):
    """An image of any size and shape; two boxes that share no patch, both within what the model sees."""
    width, height = draw(st.integers(SIDE, 3 * SIDE)), draw(st.integers(SIDE, 3 * SIDE))
    scale = min(width, height) / SIDE
    left, top = (width / scale - SIDE) / 2, (height / scale - SIDE) / 2
    columns = draw(st.permutations(range(3)))

    def box(part):
        # Within two columns of patches, at any place, at least two pixels large after scaling.
        from_x, until_x = PATCH * 2 * part + 0.6, PATCH * 2 * (part + 1) - 0.6
        x = draw(st.floats(from_x, until_x - 3))
        y = draw(st.floats(0.6, SIDE - 4))
        w, h = draw(st.floats(2.2, until_x - x)), draw(st.floats(2.2, SIDE - 0.6 - y))
        corner = round((left + x) * scale), round((top + y) * scale)
        end = round((left + x + w) * scale), round((top + y + h) * scale)
        return (*corner, end[0] - corner[0], end[1] - corner[1])

    return paint(
        (width, height),
        box(columns[0]),
        box(columns[1]),
        draw(st.tuples(st.integers(0, 1), st.integers(0, 1))),
        draw(st.integers(0, 1)),
    )


@settings(max_examples=40)
@given(plant=plants(), window=st.sampled_from([1, 3, 5, 9]), shown=st.lists(scenes(), min_size=2, max_size=3))
def test_planted_flow_is_found_and_nothing_else(plant, window, shown):
    vlm = build_planted(plant, grid=GRID, patch=PATCH)
    rows = []
    for number, scene in enumerate(shown):
        prompt = vlm.prompt(scene.image, QUESTION, objects={"picture": [scene.related]})
        other = scene.other_bit if plant.reads_other else 0
        assert vlm.answer(prompt, max_new_tokens=1).text == code_word(scene.related_bits, other)
        rows.append(
            vlm.knockout(prompt, FLOW_EDGES, window).with_columns(
                question_id=pl.lit(str(number)), image_id=pl.lit(str(number))
            )
        )
    summary = summarise(pl.concat(rows), ["edge", "window", "layer"], "change")
    for row in summary.iter_rows(named=True):
        edge = Edge.parse(row["edge"])
        planted = plant.layers_of(edge.source, edge.target)
        inside = planted & set(window_layers(row["layer"], window, plant.layers))
        if inside:
            assert row["high"] < -45, row  # of one of two bits, guessing keeps a half
        else:
            assert abs(row["low"]) < 1, row
            assert abs(row["high"]) < 1, row


def test_with_the_wrong_box_the_related_patches_show_nothing():
    """With the wrong box, the related patches are not where the code is, and the edge shows nothing."""
    plant = Plant.through_question(4, 1, 2)
    vlm = build_planted(plant)
    scene = paint((48, 48), (0, 0, 16, 16), (32, 32, 16, 16), (1, 0), 1)
    wrong = vlm.prompt(scene.image, QUESTION, objects={"picture": [scene.other]})
    rows = vlm.knockout(wrong, ["related patches -> question", "other patches -> question"], 1)
    changes = dict(rows.filter(pl.col("layer") == 1).select("edge", "change").iter_rows())
    assert abs(changes["related patches -> question"]) < 1
    assert changes["other patches -> question"] < -90


def test_layers_of_a_plant_are_those_of_an_edge():
    plant = Plant.two_stages(8, 1, 3, 6)
    assert plant.layers_of("image", "question") == {1, 3}
    assert plant.layers_of("other patches", "question") == {1}
    assert plant.layers_of("question", "last") == {6}
    assert plant.layers_of("image", "last") == set()
    assert Plant.direct(8, 4).layers_of("related patches", "last") == {4}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_planted_models_are_exact_in_every_precision(dtype):
    vlm = build_planted(Plant.direct(3, 1), dtype=dtype)
    scene = paint((48, 48), (8, 8, 8, 8), (32, 32, 8, 8), (0, 1), 0)
    prompt = vlm.prompt(scene.image, QUESTION, objects={"picture": [scene.related]})
    changes = vlm.knockout(prompt, ["image -> last"], 1)["change"].to_list()
    assert changes[1] < -90
    assert max(map(abs, changes[::2])) < 1e-3
