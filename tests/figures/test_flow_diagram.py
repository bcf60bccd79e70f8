"""The diagram of the flow: an arrow for each stage, at its depth, and no two on each other."""

import polars as pl

from vlmflow.analysis.stages import STAGES
from vlmflow.figures.flow_diagram import APART, LINE, MOST_LANES, arrows_of, draw_flow_diagram, lanes_of
from vlmflow.figures.save import save


def stage(edge, number=1, layer=8, effect=-40.0, model="a", layers=32):
    place = {"layer": layer, "layer_low": layer - 1, "layer_high": layer + 1, "first_layer": layer, "last_layer": layer}
    ends = {"effect": effect, "low": effect - 2, "high": effect + 2, "tasks": ["T"], "questions": 9, "images": 9}
    about = {
        "model": model,
        "probe": "flow",
        "edge": edge,
        "window": 9,
        "stage": number,
        "layers": layers,
        "reason": None,
    }
    return about | place | ends


def table(*rows):
    return STAGES.frame(list(rows))


def test_lanes_are_the_segments_that_are_measured_from_left_to_right():
    stages = table(stage("question -> last"), stage("image -> question", 0), stage("last -> last"))
    assert lanes_of(stages) == ["image", "question", "last"]
    with_caption = table(stage("caption -> question"), stage("question -> last"))
    assert lanes_of(with_caption) == ["caption", "question", "last"]
    assert lanes_of(table(stage("last -> last"))) == []


def test_of_many_segments_those_with_a_stage_are_lanes():
    names = ["true option", "false option", "options", "objects", "question", "related patches"]
    stages = table(
        stage("image -> question"),
        *(stage(f"{name} -> last", int(name in ("options", "related patches"))) for name in names),
    )
    lanes = lanes_of(stages)
    assert len(lanes) <= MOST_LANES
    assert set(lanes) == {"image", "related patches", "question", "options", "last"}
    assert lanes_of(table(stage("[colour words] -> last"))) == ["[colour words]", "last"]


def test_an_arrow_ends_at_its_depth_and_is_as_wide_as_its_effect():
    stages = table(
        stage("image -> question"),
        stage("image -> question", 2, 16, -5.0),
        stage("question -> last", 0),
        stage("last -> last"),
    )
    arrows = arrows_of(stages, lanes_of(stages)).sort("y2")
    assert arrows["y2"].to_list() == [8 / 32, 16 / 32]
    assert (arrows["y"] < arrows["y2"]).all()
    assert arrows["size"].to_list() == [40.0, 5.0]
    assert arrows.select("low", "high").row(0) == (7 / 32, 9 / 32)
    assert arrows["label"].to_list() == ["−40 %", "−5 %"]


def test_arrows_and_labels_are_apart():
    sources = ["image", "related patches", "other patches"]
    stages = table(*(stage(f"{name} -> question", 1, 8) for name in sources), stage("image -> last", 1, 8))
    arrows = arrows_of(stages, lanes_of(stages))
    into = arrows.filter(pl.col("edge").str.ends_with("question"))["y2"].sort()
    assert into.diff().drop_nulls().min() >= APART - 1e-9
    begun = arrows.filter(pl.col("edge").str.starts_with("image"))["y"].sort()
    assert begun.diff().drop_nulls().min() >= APART - 1e-9
    for _, lane in arrows.group_by("label_x"):
        places = lane["label_y"].sort().diff().drop_nulls()
        assert len(places) == 0 or places.min() >= LINE - 1e-9


def test_models_are_side_by_side_and_a_study_without_lanes_has_a_sentence(tmp_path):
    stages = table(*(stage("image -> question", model=name, layers=n) for name, n in (("a", 32), ("b<", 10))))
    spec = draw_flow_diagram(stages, ["b<", "a", "absent"], 4).to_dict()
    assert spec["facet"]["sort"] == ["b< (10 layers)", "a (32 layers)"]
    assert spec["columns"] == 2
    save(draw_flow_diagram(stages, ["a"], 1), tmp_path / "flow.svg")
    assert "windows of 9 layers" in (tmp_path / "flow.svg").read_text()
    unknown = table(stage("image -> question") | {"reason": "T has only 3 images with it"})
    assert "T has only 3 images" in str(draw_flow_diagram(unknown, ["a"], 4).to_dict())
    nothing = draw_flow_diagram(table(stage("last -> last")), ["a"], 4).to_dict()
    assert "no edge between two segments" in str(nothing)


def test_the_axis_counts_layers_if_all_models_have_equally_many():
    def axis(*sizes):
        names = "abc"[: len(sizes)]
        stages = table(
            *(stage("image -> question", model=name, layers=n) for name, n in zip(names, sizes, strict=True))
        )
        (arrow, *_) = draw_flow_diagram(stages, list(names), 4).to_dict()["spec"]["layer"]
        return arrow["encoding"]["y"]["axis"]

    assert axis(32, 10)["title"] == "Depth (share of the layers)"
    alone = axis(10)
    assert (alone["title"], alone["values"]) == ("Layer", [0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert alone["labelExpr"] == "round(datum.value * 10)"
    assert axis(32, 32)["values"] == [layer / 32 for layer in range(0, 33, 5)]
    assert axis(4)["values"] == [0, 0.25, 0.5, 0.75, 1]


def test_a_study_in_which_nothing_was_found_has_lanes_and_no_arrow(tmp_path):
    save(draw_flow_diagram(table(stage("image -> question", 0)), ["a"], 4), tmp_path / "flow.svg")
    drawing = (tmp_path / "flow.svg").read_text()
    assert ">image<" in drawing
    assert "%</text>" not in drawing
    assert "no stage was found" in drawing


def test_a_lane_that_a_model_was_not_measured_on_is_left_out():
    captions = [stage("caption -> question", model="b"), stage("question -> last", model="b")]
    stages = table(stage("image -> question"), *captions)
    rows = draw_flow_diagram(stages, ["a", "b"], 4).to_dict()["data"]["values"]
    lanes = {(row["panel"][0], row["x"]) for row in rows if row["part"] == "lane"}
    assert lanes == {("a", 1), ("a", 2), ("b", 0), ("b", 2), ("b", 3)}
