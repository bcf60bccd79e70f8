"""Single examples: images with veils of cells, or with words on their patches."""

import base64
import itertools
import xml.etree.ElementTree as ET

import polars as pl
from PIL import Image

from support.frames import drawn, specified
from support.image_frames import (
    ATTENTION_MAP_PROBE,
    EXAMPLES,
    LENS_PROBE,
    OCCLUSION_PROBE,
    TASKS,
    attention_map_rows,
    lens_rows,
    painted,
    view,
)
from vlmflow.figures import ExamplesChart
from vlmflow.figures.save import save
from vlmflow.probes import AttentionMapProbe, OcclusionProbe, VisualLensProbe
from vlmflow.tables import VIEWS


def lines_of(chart):
    """The lines of images: (title, [(title of the image, rows of what lies on it, address of the image)])."""
    spec = specified(chart)
    found = []
    for line in spec["vconcat"]:
        images = []
        for panel in line["concat"]:
            image, *on = panel["layer"]
            data = [
                spec["datasets"][layer["data"]["name"]] if "name" in layer["data"] else layer["data"]["values"]
                for layer in on
            ]
            images.append((panel["title"]["text"], data[-1], image["mark"]["url"]))
        found.append((" ".join(line["title"]["text"]), images))
    return found


def examples_of(figure, probe, table, rows, views, columns=3, summary=None):
    more = {
        "rows": {task: table.frame(each) for task, each in rows.items()},
        "views": {task: VIEWS.frame(each) for task, each in views.items()},
    }
    return drawn(
        pl.DataFrame(schema={"model": pl.String, "mean": pl.Float64}) if summary is None else summary,
        figure,
        probe,
        "m",
        TASKS,
        columns,
        **more,
    )


def test_examples_of_attention_have_a_veil_per_layer():
    blue = painted("blue", "JPEG")
    views = {"other": [view("1"), view("2", image=blue)], "first": [view("3", question="Which?", task="first")]}
    rows = {"other": attention_map_rows("1") + attention_map_rows("2"), "first": attention_map_rows("3", task="first")}
    chart = examples_of(EXAMPLES, ATTENTION_MAP_PROBE, AttentionMapProbe.table, rows, views)
    lines = lines_of(chart)
    assert [title for title, _ in lines] == ["other: What? (a1)", "other: What? (a2)", "first: Which? (a3)"]
    assert [title for title, _, _ in lines[0][1]] == [
        "input image",
        "layer 0",
        "layer 1",
        "layer 3",
        "layer 4",
    ]
    assert "attention from question" in " ".join(specified(chart)["title"]["subtitle"])
    seen, *images = [[cell["share"] for cell in cells] for _, cells, _ in lines[0][1]]
    assert seen == [1.0] * 6
    assert images == [[layer / 4] * 5 + [layer / 8] for layer in (0, 1, 3, 4)], "one scale for all layers"
    assert [(cell["row"], cell["column"]) for cell in lines[0][1][1][1]] == list(itertools.product(range(2), range(3)))
    png, jpeg = "data:image/png;base64,", "data:image/jpeg;base64,"
    assert {base64.b64decode(url.removeprefix(png)) for _, _, url in lines[0][1]} == {painted("red")}
    assert {base64.b64decode(url.removeprefix(jpeg)) for _, _, url in lines[1][1]} == {blue}
    figure = ExamplesChart(chart="examples", probe="p", target="last", quantity="weight", layers=[2, 4])
    lines = lines_of(examples_of(figure, ATTENTION_MAP_PROBE, AttentionMapProbe.table, rows, views))
    assert [title for title, _, _ in lines[0][1]] == ["input image", "layer 2"], "in layer 4 nothing is known"
    assert [cell["share"] for cell in lines[0][1][1][1]] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_examples_of_occlusion_have_a_veil_on_each_cell():
    about = {"task": "other", "image_id": "1", "grid": 2, "loss": 1.0}
    rows = [
        about | {"question_id": "1", "loss_increase": [-0.5, 0.5, 1.0, 2.0]},
        about | {"question_id": "2", "loss_increase": [-0.5, -0.5, 0.0, 0.0]},
    ]
    chart = examples_of(
        EXAMPLES, OCCLUSION_PROBE, OcclusionProbe.table, {"other": rows}, {"other": [view("1"), view("2")]}
    )
    (_, first), (_, second) = lines_of(chart)
    assert [title for title, _, _ in first] == ["input image", "without each cell"]
    assert [cell["share"] for cell in first[1][1]] == [0.0, 0.25, 0.5, 1.0], "less loss is as dark as no change"
    assert [(cell["row"], cell["column"]) for cell in first[1][1]] == list(itertools.product(range(2), range(2)))
    assert [cell["share"] for cell in second[1][1]] == [0.0] * 4
    assert "brightest where the loss increases most without the cell" in " ".join(specified(chart)["title"]["subtitle"])


def test_examples_of_words_have_a_word_on_each_patch():
    words = ["sky", "grasshopper", "", "tree", "giraffe", "a&b"]
    chart = examples_of(
        EXAMPLES, LENS_PROBE, VisualLensProbe.table, {"other": lens_rows("1", words)}, {"other": [view("1")]}
    )
    ((_, images),) = lines_of(chart)
    assert [title for title, _, _ in images] == ["embedding", "layer 0", "layer 2", "layer 3"]
    for _, cells, _ in images:
        assert [cell["word"] for cell in cells] == words, "of the correct instruction, where it stands first"
        assert [cell["short"] for cell in cells] == ["sky", "grassh…", "", "tree", "giraffe", "a&b"]
        assert [(cell["row"], cell["column"]) for cell in cells] == list(itertools.product(range(2), range(3)))
    before = LENS_PROBE.model_copy(update={"instruction_positions": ["before"]})
    chart = examples_of(
        EXAMPLES, before, VisualLensProbe.table, {"other": lens_rows("1", words)}, {"other": [view("1")]}
    )
    assert {cell["word"] for cell in lines_of(chart)[0][1][0][1]} == {"before"}
    assert EXAMPLES.sentence(LENS_PROBE, VisualLensProbe.summary_table().frame([]), "m") == ""
    assert EXAMPLES.effects(LENS_PROBE, VisualLensProbe.summary_table().frame([])).lines == []


def test_words_that_cannot_be_drawn_are_replaced(tmp_path):
    """Bytes that XML does not have would stop the writer, and half of an emoji leave the drawing unfinished."""
    words = ["\x00", "\x0b\x1f", "\ufffe", "abcde😀xyz", "\x7f", "▁é"]
    views = {"other": [view("1", question="A \x00 and a \x0b?")]}
    chart = examples_of(EXAMPLES, LENS_PROBE, VisualLensProbe.table, {"other": lens_rows("1", words)}, views)
    for ending in (".svg", ".png", ".html"):
        save(chart, tmp_path / f"chart{ending}")
    text = "".join(ET.parse(tmp_path / "chart.svg").getroot().itertext())
    assert "A � and a �?" in text
    assert "abcde😀…" in text
    assert "▁é" in text
    assert Image.open(tmp_path / "chart.png").size[0] > 500
