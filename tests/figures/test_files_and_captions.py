"""Figures of image probes as files, those of which nothing could be measured, and their captions."""

import xml.etree.ElementTree as ET

import polars as pl
import pytest
from PIL import Image

from support.frames import drawn, specified
from support.image_frames import (
    ATTENTION,
    ATTENTION_MAP_PROBE,
    ATTENTION_PROBE,
    BUDGET_PROBE,
    BY_KEEP,
    BY_PAIR,
    BY_PROMPT,
    EXAMPLES,
    LENS_PROBE,
    MAP,
    OCCLUSION_PROBE,
    OUTPUT_PROBE,
    SIMILARITY_PROBE,
    TASKS,
    WITH_PHASES,
    attention_map_rows,
    growths,
    lens_figure,
    lens_rows,
    output_figure,
    view,
)
from vlmflow.figures import ExamplesChart, SimilarityChart
from vlmflow.figures.save import save
from vlmflow.probes import AttentionMapProbe, VisualLensProbe
from vlmflow.tables import VIEWS

EVIL = "</script><b>"
WIDEST = 1750  # pixels of an image for print


@pytest.fixture(scope="module")
def everything(
    similarity_summary,
    phase_table,
    attention_summary,
    visual_lens_summary,
    output_summary,
    budget_summary,
    knee_table,
    attention_map_summary,
):
    """Name → (summary, figure, probe, what else it is drawn from); texts from data hold what could end a script."""
    titled = {"title": "A title of some length, as people write them"}
    words = ["sky", EVIL, "<b>", "&amp;", "a", '"'] * 24
    return {
        "pairs": (similarity_summary, BY_PAIR, SIMILARITY_PROBE, {}),
        "prompts": (
            similarity_summary.with_columns(pl.col("prompt").replace("all", EVIL)),
            BY_PROMPT,
            SIMILARITY_PROBE,
            {},
        ),
        "phases": (
            similarity_summary,
            WITH_PHASES.model_copy(update=titled),
            SIMILARITY_PROBE,
            {"curve_features": phase_table},
        ),
        "attention": (attention_summary, ATTENTION, ATTENTION_PROBE, {}),
        "lens": (visual_lens_summary, lens_figure("names"), LENS_PROBE, {}),
        "output": (output_summary, output_figure("agreement"), OUTPUT_PROBE, {}),
        "budget": (budget_summary, BY_KEEP, BUDGET_PROBE, {"curve_features": knee_table}),
        "looks": (attention_map_summary, MAP, ATTENTION_MAP_PROBE, {}),
        "places": (growths([-0.5, 0.1, 0.2, 0.5]), MAP, OCCLUSION_PROBE, {}),
        "attention examples": (
            attention_map_summary,
            EXAMPLES,
            ATTENTION_MAP_PROBE,
            {
                "rows": {"other": AttentionMapProbe.table.frame(attention_map_rows("1"))},
                "views": {"other": VIEWS.frame([view("1", question=f"{EVIL} and more, {'on and on ' * 20}")])},
            },
        ),
        "word examples": (
            visual_lens_summary,
            EXAMPLES,
            LENS_PROBE,
            {
                "rows": {"other": VisualLensProbe.table.frame(lens_rows("1", words, layers=[0, 1]))},
                "views": {"other": VIEWS.frame([view("1", 6, 24, question=EVIL)])},
            },
        ),
    }


NAMES = [
    "pairs",
    "prompts",
    "phases",
    "attention",
    "lens",
    "output",
    "budget",
    "looks",
    "places",
    "attention examples",
    "word examples",
]
FROM_DATA = {"prompts", "attention examples", "word examples"}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_drawn_and_text_from_data_ends_no_script(everything, tmp_path, name):
    summary, figure, probe, more = everything[name]
    for file, columns in (("a.html", 3), ("a.svg", 3), ("a.png", 3), ("a-narrow.svg", 1)):
        path = tmp_path / file
        written = []
        for _ in range(2):
            chart = drawn(summary, figure, probe, "m", TASKS, columns, file == "a.html", **more)
            save(chart, path)
            written.append(path.read_bytes())
        assert written[0] == written[1], "the same bytes from the same tables"
    root = ET.parse(tmp_path / "a.svg").getroot()
    narrow = ET.parse(tmp_path / "a-narrow.svg").getroot()
    for drawing in (root, narrow):
        assert drawing.tag.endswith("svg")
        assert len(list(drawing.iter())) > 50, "there is something on it"
    assert float(narrow.get("width")) <= float(root.get("width"))
    with Image.open(tmp_path / "a.png") as image:
        assert image.width <= WIDEST
        assert image.width == pytest.approx(2 * float(root.get("width")), abs=2)
        assert len(image.convert("RGB").getcolors(image.width * image.height)) > 10
    page = (tmp_path / "a.html").read_text()
    assert EVIL not in page
    if name in FROM_DATA:
        assert "\\u003c/script\\u003e\\u003cb\\u003e" in page, "the text is there, but ends no script"
        assert EVIL in "".join(
            text for drawing in root.iter() for text in (drawing.text or "", *drawing.attrib.values())
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_of_which_nothing_could_be_measured_says_why(everything, tmp_path, name):
    summary, figure, probe, _ = everything[name]
    row = {
        column: None if dtype.is_float() else "" if dtype == pl.String else 0
        for column, dtype in summary.schema.items()
    }
    note = f"the image was {EVIL} not to be found \x0b"
    alone = pl.DataFrame([row | {"model": "m", "task": "other", "note": note}], schema=summary.schema)
    chart = drawn(alone, figure, probe, "m", TASKS, columns=3)
    save(chart, tmp_path / "a.svg")
    text = "".join(ET.parse(tmp_path / "a.svg").getroot().itertext())
    assert f"The image was {EVIL} not to be found" in text
    if not isinstance(figure, ExamplesChart):
        assert figure.sentence(probe, alone, "m") == f"m: {note}"
        cells = [cell for row in figure.effects(probe, alone).rows for cell in row["cells"]]
        assert cells == [{"note": note}]
    empty = drawn(alone.clear(), figure, probe, "m", TASKS, columns=3)
    assert "There was no question to analyse." in str(specified(empty))


@pytest.mark.parametrize(
    ("figure", "probe", "said", "not_said"),
    [
        (
            BY_PAIR,
            SIMILARITY_PROBE,
            ["Mean cosine similarity", "of tokens of unrelated questions is subtracted"],
            ["bands: phases"],
        ),
        (
            SimilarityChart(chart="similarity", probe="p", quantity="raw"),
            SIMILARITY_PROBE,
            ["No correction is made"],
            ["subtracted"],
        ),
        (WITH_PHASES, SIMILARITY_PROBE, ["Grey and white bands: phases", "the 95 % interval of a phase's start"], []),
        (
            ATTENTION,
            ATTENTION_PROBE,
            ["by attention weights (mean over heads), and by norms", "Kobayashi et al. 2020"],
            [],
        ),
        (lens_figure("names"), LENS_PROBE, ["one of the 7 most probable words"], ["In a causal decoder"]),
        (lens_figure("entropy"), LENS_PROBE, ["Entropy of the words", "In a causal decoder"], []),
        (
            lens_figure("agreement"),
            LENS_PROBE.model_copy(update={"instruction_positions": ["before"]}),
            ["the same as with the correct instruction"],
            ["In a causal decoder"],
        ),
        (
            lens_figure("words"),
            LENS_PROBE.model_copy(update={"instructions": ["correct"]}),
            ["not a piece from the inside of a word"],
            ["In a causal decoder"],
        ),
        (
            lens_figure("difference"),
            LENS_PROBE,
            ["minus the percentage with the correct instruction", "In a causal decoder"],
            [],
        ),
        (BY_KEEP, BUDGET_PROBE, ["A ring marks the knee of a curve", "the mean over 5 draws"], []),
        (BY_KEEP, BUDGET_PROBE.model_copy(update={"keep": ["first"]}), ["A ring marks the knee"], ["draws"]),
        (
            MAP,
            ATTENTION_MAP_PROBE,
            ["Attention of the instruction to the image", "All layers share one colour scale"],
            [],
        ),
        (MAP, OCCLUSION_PROBE, ["the tokens of one cell of a 2 × 2 grid over the image"], ["{}"]),
        (EXAMPLES, ATTENTION_MAP_PROBE, ["darker where the target attends less"], ["loss"]),
        (EXAMPLES, OCCLUSION_PROBE, ["darker where the reference answer's loss increases less"], ["target"]),
        (EXAMPLES, LENS_PROBE, ["the most probable word of each patch"], ["darker"]),
    ],
)
def test_a_caption_explains_what_its_figure_shows(figure, probe, said, not_said):
    text = figure.caption(probe)
    assert "{" not in text
    for words in said:
        assert words in text
    for words in not_said:
        assert words not in text
