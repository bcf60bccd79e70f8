"""The figures of how picture and words meet: what stands in them, what is said of them, and their files."""

import base64
import io
import itertools
import xml.etree.ElementTree as ET

import polars as pl
import pytest
from PIL import Image

from vlmflow import charts
from vlmflow.charts.style import strokes_of
from vlmflow.findings import findings, sentence
from vlmflow.study import (
    AttentionChart,
    AttentionMapProbe,
    AttentionProbe,
    BudgetChart,
    BudgetProbe,
    ExamplesChart,
    MapChart,
    PlacesProbe,
    SimilarityChart,
    SimilarityProbe,
    VisualLensChart,
    VisualLensProbe,
)
from vlmflow.tables import ATTENTION_MAP, KNEES, PAIRS, PHASE_NAMES, PHASES, PLACES, VIEWS, VISUAL_LENS
from vlmflow.tables.summaries import (
    ATTENTION_MAP_SUMMARY,
    ATTENTION_SUMMARY,
    BUDGET_SUMMARY,
    PLACES_SUMMARY,
    SIMILARITY_SUMMARY,
    VISUAL_LENS_SUMMARY,
)
from vlmflow.tabulate import landmark_rows, landmarks_page

# Words that lines of other figures are called by, and that figures write out there.
TASKS = ["other", "first"]
PROMPTS = ["question", "all"]
LAYERS = range(-1, 9)
EVIL = "</script><b>"
WIDEST = 1750  # pixels of a picture for print


def interval(mean, spread=1.0, **more):
    about = {"mean": mean, "low": mean - spread, "high": mean + spread, "questions": 7, "pictures": 5, "note": None}
    return {"model": "m"} | about | more


def nothing(table, **more):
    """A row as summaries have it where nothing could be measured."""
    empty = {
        name: None if column.nullable else "" if column.dtype == pl.String else 0
        for name, column in table.columns.items()
    }
    return empty | {"model": "m"} | more


def specified(chart):
    return chart.to_dict()


def data_of(chart):
    (rows,) = specified(chart)["datasets"].values()
    return pl.DataFrame(rows, infer_schema_length=None)


def panels_of(chart):
    """The headings in their order, each of which has rows."""
    order = specified(chart)["facet"]["sort"]
    assert set(order) == set(data_of(chart)["panel"])
    return order


def axes_of(chart):
    """(titles of the x axis, titles of the y axis) over all layers of the chart."""
    encodings = [layer["encoding"] for layer in specified(chart)["spec"]["layer"]]
    return tuple(
        {encoding[name]["title"] for encoding in encodings if encoding.get(name, {}).get("title")} for name in "xy"
    )


def legend_of(chart):
    scales = [layer["encoding"].get("color", {}).get("scale", {}) for layer in specified(chart)["spec"]["layer"]]
    return next(scale["domain"] for scale in scales if "domain" in scale)


def nodes(spec):
    """Every mapping in a chart's description."""
    if isinstance(spec, dict):
        yield spec
    for each in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else []:
        yield from nodes(each)


def cells_of(found):
    """(task, line) → cell of the table of findings."""
    return {
        (row["task"], line): cell
        for row in found["rows"]
        for line, cell in zip(found["lines"], row["cells"], strict=True)
    }


# --- similarity ---

SIMILARITY_PROBE = SimilarityProbe(kind="similarity", prompts={"question": "{question}", "all": "x"})
BY_PAIR = SimilarityChart(chart="similarity", probe="p", title="Contextualisation")
BY_PROMPT = SimilarityChart(chart="similarity", probe="p", by="prompt")
WITH_PHASES = SimilarityChart(chart="similarity", probe="p", phases=True)


def similar(task, prompt, pair, quantity, layer):
    """Highest between image and text, after layer 5 of the task first and the prompt all; prompts are farthest apart
    after layer 3 of the task other."""
    height = {"corrected": 0.1, "raw": 0.4, "unrelated": 0.3}[quantity]
    height += 0.2 * (pair == "image and text") - 0.05 * (pair == "within text")
    height += 0.01 * (task == "other" and prompt == "all" and layer == 3)
    return height + 0.1 * (task == "first") + 0.02 * (prompt == "all") - 0.01 * abs(layer - 5)


@pytest.fixture(scope="module")
def similarity():
    return SIMILARITY_SUMMARY.frame(
        [
            {"task": task, "prompt": prompt, "pair": pair, "quantity": quantity, "layer": layer}
            | interval(similar(task, prompt, pair, quantity, layer), 0.05)
            for task, prompt, pair, quantity, layer in itertools.product(
                TASKS, PROMPTS, PAIRS, ("raw", "unrelated", "corrected"), LAYERS
            )
        ]
    )


def phase_rows(task, prompt, supported, cut, agreement):
    """Phases from the layers at which the layers are cut."""
    starts, ends = [-1, *cut], [*(layer - 1 for layer in cut), 8]
    return [
        {
            "model": "m",
            "task": task,
            "prompt": prompt,
            "supported": supported,
            "agreement": agreement,
            "of": len(starts),
            "phase": number,
            "name": PHASE_NAMES[number - 1] if len(starts) == 4 else "",
            "first": start,
            "last": end,
            "between": -0.01 * number,
            "within_image": 0.002,
            "within_text": 0.0,
            "low": None if number == 1 else start - 1,
            "high": None if number == 1 else start + 1,
            "questions": 7,
            "pictures": 5,
        }
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


@pytest.fixture(scope="module")
def phases():
    """Four phases in the task other; in first two, which are cut into four as well."""
    return PHASES.frame(
        [
            *phase_rows("other", "question", 4, [2, 4, 7], 91.0),
            *phase_rows("other", "all", 1, [], 70.0),
            *phase_rows("other", "all", 1, [1, 3, 5], 70.0),
            *phase_rows("first", "question", 2, [3], 55.0),
            *phase_rows("first", "question", 2, [1, 3, 5], 55.0),
        ]
    )


def test_similarity_has_a_panel_a_task_and_prompt(similarity):
    chart = charts.draw(similarity, BY_PAIR, SIMILARITY_PROBE, "m", TASKS, columns=3)
    panels = [f"{task}, {prompt} (n = 7)" for task in TASKS for prompt in PROMPTS]
    assert panels_of(chart) == panels, "by the user's own names, in the user's order"
    assert set(legend_of(chart)) == set(PAIRS)
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {"Mean cosine similarity"})
    rows = data_of(chart)
    assert len(rows) == len(panels) * len(PAIRS) * len(LAYERS)
    assert "part" not in rows.columns, "no bands"
    one = rows.filter((pl.col("panel") == panels[0]) & (pl.col("line") == PAIRS[1]) & (pl.col("x") == -1))
    assert one["mean"].item() == pytest.approx(similar("other", "question", PAIRS[1], "corrected", -1))
    assert specified(chart)["title"]["text"] == "Contextualisation"
    assert specified(chart)["title"]["subtitle"] == ["m; n = 7 questions a task, on 5 pictures"]


def test_a_prompt_that_all_panels_share_is_not_repeated(similarity):
    alone = similarity.filter(pl.col("prompt") == "all")
    chart = charts.draw(alone, BY_PAIR, SIMILARITY_PROBE, "m", TASKS[::-1], columns=3)
    assert panels_of(chart) == ["first (n = 7)", "other (n = 7)"]


def test_similarity_by_prompt(similarity):
    chart = charts.draw(similarity, BY_PROMPT, SIMILARITY_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [f"{task}, {pair} (n = 7)" for task in TASKS for pair in PAIRS]
    assert set(legend_of(chart)) == set(PROMPTS), "as the user calls them: all, and not all patches"
    assert set(data_of(chart)["line"]) == set(PROMPTS)


@pytest.mark.parametrize("quantity", ["raw", "unrelated"])
def test_similarity_that_is_not_corrected(similarity, quantity):
    figure = SimilarityChart(chart="similarity", probe="p", quantity=quantity)
    rows = data_of(charts.draw(similarity, figure, SIMILARITY_PROBE, "m", TASKS, columns=3))
    assert rows["mean"].max() == pytest.approx(similar("first", "all", PAIRS[0], quantity, 5))


def test_bands_of_phases(similarity, phases):
    more = charts.More(landmarks=pl.concat([phases, phases.with_columns(model=pl.lit("another"))]))
    chart = charts.draw(similarity, WITH_PHASES, SIMILARITY_PROBE, "m", TASKS, 3, more=more)
    rows = data_of(chart)
    bands = rows.filter(pl.col("part") == "band")
    places = {
        panel: bands.filter(pl.col("panel") == panel).select("label", "start", "end", "low", "high").rows()
        for panel in panels_of(chart)
    }
    assert places == {
        "other, question (n = 7)": [
            ("I", -1.5, 1.5, None, None),
            ("II", 1.5, 3.5, 0.5, 2.5),
            ("III", 3.5, 6.5, 2.5, 4.5),
            ("IV", 6.5, 8.5, 5.5, 7.5),
        ],
        "other, all (n = 7)": [("I", -1.5, 8.5, None, None)],
        "first, question (n = 7)": [("I", -1.5, 2.5, None, None), ("II", 2.5, 8.5, 1.5, 3.5)],
        "first, all (n = 7)": [],
    }
    assert len(rows.filter(pl.col("part") == "line")) == len(TASKS) * len(PROMPTS) * len(PAIRS) * len(LAYERS)
    spans = [
        (layer["encoding"]["x"]["field"], layer["encoding"]["x2"]["field"])
        for layer in specified(chart)["spec"]["layer"]
        if layer["mark"]["type"] == "rect"
    ]
    assert spans == [("start", "end"), ("low", "high")]
    labels = [layer for layer in specified(chart)["spec"]["layer"] if layer["mark"]["type"] == "text"]
    assert [layer["encoding"]["text"]["field"] for layer in labels] == ["label"]


def test_what_is_said_of_similarity(similarity, phases):
    words = sentence(BY_PAIR, SIMILARITY_PROBE, similarity, "m", phases)
    assert words == "m: image and text are most alike in first, all, 0.42 [0.37, 0.47] after layer 5."
    words = sentence(WITH_PHASES, SIMILARITY_PROBE, similarity, "m", phases)
    assert "The curves support, by task and prompt: other, question: four phases, as [phase] has it (in 91 %" in words
    assert (
        "they begin after layer 2 [1, 3] (intra-modal encoding), 4 [3, 5] (inter-modal encoding), 7 [6, 8] (output "
        "preparation). other, all: 1 phase, not four (in 70 % of the resamples). first, question: 2 phases, not four "
        "(in 55 % of the resamples); after the first, they begin after layer 3 [2, 4]." in words
    )
    words = sentence(BY_PROMPT, SIMILARITY_PROBE, similarity, "m", None)
    assert "between prompts, the similarity of image and text differs by at most 0.03 (other, after layer 3)." in words
    cells = cells_of(findings(BY_PAIR, SIMILARITY_PROBE, similarity))
    assert len(cells) == len(TASKS) * len(PROMPTS) * len(PAIRS)
    assert cells["first, all", "image and text"] == {"value": "0.42", "interval": "[0.37, 0.47]", "where": "layer 5"}
    cells = cells_of(findings(BY_PROMPT, SIMILARITY_PROBE, similarity))
    assert cells["other, within text", "all"] == {"value": "0.07", "interval": "[0.02, 0.12]", "where": "layer 5"}


def test_numbers_below_zero_have_a_true_minus(similarity):
    lower = similarity.with_columns(pl.col("mean", "low", "high") - 1)
    words = sentence(BY_PAIR, SIMILARITY_PROBE, lower, "m")
    assert "−0.58 [−0.63, −0.53]" in words
    cells = cells_of(findings(BY_PAIR, SIMILARITY_PROBE, lower))
    assert cells["first, all", "image and text"]["interval"] == "[−0.63, −0.53]"


@pytest.mark.parametrize("absent", [{"task": "none"}, {"model": "n", "task": "other"}])
def test_findings_where_something_could_not_be_measured(similarity, absent):
    """A row without prompt, pair and quantity leaves the others as they are, and tells the reason in every cell."""
    alone = similarity.filter(pl.col("prompt") == "all")
    row = nothing(SIMILARITY_SUMMARY, note="the picture is missing") | absent
    found = findings(BY_PAIR, SIMILARITY_PROBE, pl.concat([alone, SIMILARITY_SUMMARY.frame([row])]))
    assert [(each["model"], each["task"]) for each in found["rows"]] == [
        ("m", "other"),
        ("m", "first"),
        (absent.get("model", "m"), absent["task"]),
    ]
    assert found["lines"] == list(PAIRS)
    assert found["rows"][0]["cells"][0]["value"] == "0.32"
    assert found["rows"][2]["cells"] == [{"note": "the picture is missing"}] * 3


# --- attention ---

EDGES = ["image -> question", "question -> last", "image -> image", "template -> last"]
ATTENTION_PROBE = AttentionProbe(kind="attention", edges=EDGES)
ATTENTION = AttentionChart(chart="attention", probe="p")


@pytest.fixture(scope="module")
def attention():
    """At layer 2 of the task other the question looks at the image most, by weights; by norms at layer 1 of first."""

    def looks(task, edge, quantity, layer):
        if edge != EDGES[0]:
            return 5.0 + layer
        return {("other", "weight", 2): 40.0, ("first", "share", 1): 23.0}.get((task, quantity, layer), 10.0)

    return ATTENTION_SUMMARY.frame(
        [
            {"task": task, "edge": edge, "quantity": quantity, "layer": layer}
            | interval(looks(task, edge, quantity, layer))
            for task, edge, quantity, layer in itertools.product(TASKS, EDGES, ("weight", "norm", "share"), range(4))
        ]
    )


def test_attention(attention):
    chart = charts.draw(attention, ATTENTION, ATTENTION_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [
        f"{task}, {quantity} (n = 7)" for task in TASKS for quantity in ("attention weights", "norms")
    ]
    assert set(legend_of(chart)) == set(data_of(chart)["line"])
    assert set(legend_of(chart)) == {
        "image → question",
        "question → last",
        "image → image",
        "template → last",
    }
    assert "↛" not in str(specified(chart)), "nothing is knocked out"
    assert axes_of(chart) == ({"Layer"}, {"Percent of all positions"})
    assert len(data_of(chart)) == len(TASKS) * len(EDGES) * 2 * 4, "norms in their own unit are not drawn"


def test_some_edges_of_attention(attention):
    figure = ATTENTION.model_copy(update={"edges": [EDGES[1], EDGES[0]]})
    chart = charts.draw(attention, figure, ATTENTION_PROBE, "m", TASKS, columns=3)
    assert legend_of(chart) == ["question → last", "image → question"], "in the figure's order"
    assert findings(figure, ATTENTION_PROBE, attention)["lines"] == ["question → last", "image → question"]


def test_what_is_said_of_attention(attention):
    words = sentence(ATTENTION, ATTENTION_PROBE, attention, "m")
    assert words.startswith(
        "m: question to image: at most 40 % of the attention (layer 2, other) and 23 % of the norms (layer 1, first); "
        "last to question: at most 8 % of the attention (layer 3, "
    )
    cells = cells_of(findings(ATTENTION, ATTENTION_PROBE, attention))
    assert cells["other, attention weights", "image → question"] == {
        "value": "40.0 %",
        "interval": "[39.0, 41.0]",
        "where": "layer 2",
    }
    assert cells["first, norms", "image → question"]["value"] == "23.0 %"


def test_an_edge_that_a_task_does_not_have(attention):
    row = nothing(ATTENTION_SUMMARY, task="first", edge=EDGES[1], note="it was built without options")
    there = attention.filter((pl.col("task") != "first") | (pl.col("edge") != EDGES[1]))
    found = findings(ATTENTION, ATTENTION_PROBE, pl.concat([there, ATTENTION_SUMMARY.frame([row])]))
    cells = cells_of(found)
    assert [each["task"] for each in found["rows"]] == [
        "other, attention weights",
        "other, norms",
        "first, attention weights",
        "first, norms",
    ]
    for quantity in ("attention weights", "norms"):
        assert cells[f"first, {quantity}", "question → last"] == {"note": "it was built without options"}
        assert "value" in cells[f"other, {quantity}", "question → last"]
    assert "value" in cells["first, norms", "image → question"]


# --- the lens on the picture's tokens ---

LENS_PROBE = VisualLensProbe(kind="visual-lens", top=7)
LENS_UNITS = {
    "names": "Patches that say it, %",
    "entropy": "Entropy, bits",
    "words": "Tokens that are words, %",
    "agreement": "Same word as with the right one, %",
    "difference": "Patches that say it, percentage points",
}


def lens_figure(quantity):
    return VisualLensChart(chart="visual-lens", probe="p", quantity=quantity)


@pytest.fixture(scope="module")
def lens():
    """All grow with the layers, but for the difference, which falls; names and words are highest in the task other."""
    heights = {
        "object": 30.0,
        "elsewhere": 12.0,
        "shuffled": 4.0,
        "entropy": 6.0,
        "words": 50.0,
        "agreement": 80.0,
        "difference": -2.0,
    }
    return VISUAL_LENS_SUMMARY.frame(
        [
            {"task": task, "instruction": instruction, "place": place, "quantity": quantity, "layer": layer}
            | interval((height + (task == "other")) * (1 + layer / 10) + (place == "before"), 0.5)
            for task, instruction, place, (quantity, height), layer in itertools.product(
                TASKS, ("right", "wrong", "none"), ("after", "before"), heights.items(), range(-1, 3)
            )
            if quantity != "difference" or instruction != "right"
        ]
    )


@pytest.mark.parametrize(
    ("quantity", "lines"),
    [
        ("names", ["their object, on its patches", "the object, on other patches", "another object, on its patches"]),
        ("entropy", ["right instruction", "wrong instruction", "no instruction"]),
        ("words", ["right instruction", "wrong instruction", "no instruction"]),
        ("agreement", ["wrong instruction", "no instruction"]),
        ("difference", ["wrong instruction", "no instruction"]),
    ],
)
def test_the_lens_on_the_picture(lens, quantity, lines):
    chart = charts.draw(lens, lens_figure(quantity), LENS_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [
        f"{task}, instruction {place} (n = 7)" for task in TASKS for place in ("after", "before")
    ]
    assert legend_of(chart) == lines
    assert axes_of(chart) == ({"Layer (−1: the embedding)"}, {LENS_UNITS[quantity]})
    rows = data_of(chart)
    assert len(rows) == 4 * len(lines) * 4
    height = {"names": 31 * 1.2 + 1, "entropy": 7 * 1.2 + 1, "words": 51 * 1.2 + 1, "agreement": 81 * 1.2 + 1}
    assert rows["mean"].max() == pytest.approx(height.get(quantity, -1 * 0.9 + 1))


def test_what_is_said_of_the_lens_on_the_picture(lens):
    def said(quantity):
        return sentence(lens_figure(quantity), LENS_PROBE, lens, "m")

    assert said("names") == (
        "m: an object's name or attribute is among the words of at most 38.2 [37.7, 38.7] % of its patches (other, "
        "after layer 2), against 16.6 % on other patches and 7.0 % for another question's object there."
    )
    assert said("entropy") == (
        "m: entropy: from 5.4 [4.9, 5.9] bits (first, right instruction after the picture, after layer -1) to 9.4 "
        "[8.9, 9.9] bits (other, right instruction before the picture, after layer 2)."
    )
    assert said("words").startswith("m: tokens that are words: from 45.0 [44.5, 45.5] % (first, ")
    assert "to 98.2 [97.7, 98.7] % (other, wrong instruction before the picture, after layer 2)" in said("agreement")
    assert said("difference") == (
        "m: largest difference to the right instruction, in percentage points of an object's patches: wrong "
        "instruction after the picture −2.4 [−2.9, −1.9] (after layer 2, first); wrong instruction before the picture "
        "−1.4 [−1.9, −0.9] (after layer 2, first); no instruction after the picture −2.4 [−2.9, −1.9] (after layer 2, "
        "first); no instruction before the picture −1.4 [−1.9, −0.9] (after layer 2, first)."
    )
    cells = cells_of(findings(lens_figure("names"), LENS_PROBE, lens))
    assert cells["other, instruction after", "another object, on its patches"] == {
        "value": "6.0",
        "interval": "[5.5, 6.5]",
        "where": "layer 2",
    }
    cells = cells_of(findings(lens_figure("agreement"), LENS_PROBE, lens))
    assert set(cells) == {
        (f"{task}, instruction {place}", f"{which} instruction")
        for task in TASKS
        for place in ("after", "before")
        for which in ("wrong", "no")
    }


# --- budgets ---

BUDGET_PROBE = BudgetProbe(kind="budget", prompts={"question": "{question}", "all": "x"}, draws=5)
BY_KEEP = BudgetChart(chart="budget", probe="p")
BUDGET_BY_PROMPT = BudgetChart(chart="budget", probe="p", by="prompt")
KEPT = [0, 1, 2, 4, 8, 16, 32, 64]
WAYS = {"first": "the first ones", "spread": "spread evenly", "random": "random ones"}


@pytest.fixture(scope="module")
def budget():
    """The loss falls by 0.3 with each doubling; 100 tokens are a number that only some of the pictures have."""
    rows = [
        {"task": task, "prompt": prompt, "keep": keep, "number": number, "kept": float(number)}
        | interval(4.0 - 0.3 * place - 0.5 * (keep == "spread"), 0.2)
        for task, prompt, keep, (place, number) in itertools.product(TASKS, PROMPTS, WAYS, enumerate(KEPT))
    ]
    some = {"task": "other", "prompt": "all", "keep": "first", "number": 100, "kept": 100.0}
    return BUDGET_SUMMARY.frame([*rows, some | interval(0.1) | {"questions": 3}])


@pytest.fixture(scope="module")
def knees():
    def row(task, prompt, keep, **found):
        about = {
            "model": "m",
            "task": task,
            "prompt": prompt,
            "keep": keep,
            "found": 88.0,
            "questions": 7,
            "pictures": 5,
        }
        loss = {"without": 4.0, "whole": 1.9, "enough": 32.0, "enough_low": 16.0, "enough_high": 64.0}
        return about | loss | found

    return KNEES.frame(
        [
            row("other", "question", "first", knee=8.0, low=4.0, high=16.0, at_knee=2.8),
            row("other", "question", "spread", knee=None, low=None, high=None, at_knee=None, found=12.0),
            row("first", "all", "random", knee=2.0, low=1.0, high=4.0, at_knee=3.4),
        ]
    )


def marks_of(chart):
    rows = data_of(chart)
    return rows.filter(pl.col("part") == "mark").select("panel", "line", "x", "mean", "low", "high").rows()


def test_budgets(budget, knees):
    chart = charts.draw(budget, BY_KEEP, BUDGET_PROBE, "m", TASKS, 3, more=charts.More(landmarks=knees))
    assert panels_of(chart) == [f"{task}, {prompt} (n = 7)" for task in TASKS for prompt in PROMPTS]
    assert legend_of(chart) == list(WAYS.values())
    assert axes_of(chart) == ({"Picture tokens kept"}, {"Loss, nats a token"})
    assert marks_of(chart) == [
        ("other, question (n = 7)", "the first ones", 8.0, 2.8, 4.0, 16.0),
        ("first, all (n = 7)", "random ones", 2.0, 3.4, 1.0, 4.0),
    ], "a ring where there is a knee"
    lines = data_of(chart).filter(pl.col("part") == "line")
    assert len(lines) == len(TASKS) * len(PROMPTS) * len(WAYS) * len(KEPT)
    assert lines["x"].max() == 64, "and not 100, which not every picture has"


def test_budgets_by_prompt(budget, knees):
    chart = charts.draw(budget, BUDGET_BY_PROMPT, BUDGET_PROBE, "m", TASKS, 3, more=charts.More(landmarks=knees))
    assert panels_of(chart) == [f"{task}, {way} (n = 7)" for task in TASKS for way in WAYS.values()]
    assert set(legend_of(chart)) == set(PROMPTS)
    assert marks_of(chart) == [
        ("other, the first ones (n = 7)", "question", 8.0, 2.8, 4.0, 16.0),
        ("first, random ones (n = 7)", "all", 2.0, 3.4, 1.0, 4.0),
    ]


@pytest.mark.parametrize("figure", [BY_KEEP, BUDGET_BY_PROMPT])
def test_equal_steps_of_budgets_are_doublings(budget, knees, figure):
    """With room for none at all, and the knees on the same axis."""
    for more in (charts.More(), charts.More(landmarks=knees)):
        chart = specified(charts.draw(budget, figure, BUDGET_PROBE, "m", TASKS, 3, more=more))
        places = [layer["encoding"]["x"] for layer in chart["spec"]["layer"]]
        drawn = [x for x in places if x["field"] == "x"]
        assert len(drawn) == 3 + (more.landmarks is not None)
        for x in drawn:
            assert (x["scale"]["type"], x["scale"]["constant"]) == ("symlog", 1)
            assert x["axis"]["values"] == [0, 1, 4, 16, 64]


def test_what_is_said_of_budgets(budget, knees):
    words = sentence(BY_KEEP, BUDGET_PROBE, budget, "m", knees)
    assert words == (
        "m: of 64 tokens. other, question, the first ones: loss 4.00 without the picture, 1.90 with it, knee at 8 [4, "
        "16] tokens (2.80), 95 % of the fall with 32 [16, 64]. other, question, spread evenly: loss 4.00 without the "
        "picture, 1.90 with it, no knee, 95 % of the fall with 32 [16, 64]. first, all, random ones: loss 4.00 without "
        "the picture, 1.90 with it, knee at 2 [1, 4] tokens (3.40), 95 % of the fall with 32 [16, 64]."
    )
    assert sentence(BY_KEEP, BUDGET_PROBE, budget, "m") == "m: of 64 tokens."
    cells = cells_of(findings(BY_KEEP, BUDGET_PROBE, budget))
    assert cells["other, all", "spread evenly"] == {"value": "1.40", "interval": "[1.20, 1.60]", "where": "tokens: 64"}
    cells = cells_of(findings(BUDGET_BY_PROMPT, BUDGET_PROBE, budget))
    assert cells["first, the first ones", "all"]["value"] == "1.90"


# --- maps ---

LOOKS_PROBE = AttentionMapProbe(kind="attention-map", targets=["question", "last"])
PLACES_PROBE = PlacesProbe(kind="places", grid=2)
MAP = MapChart(chart="map", probe="p")


@pytest.fixture(scope="module")
def looks():
    """The last position looks ten times as much as the question; of it all most at the lower right, in layer 6."""
    return ATTENTION_MAP_SUMMARY.frame(
        [
            {"task": task, "target": target, "quantity": quantity, "layer": layer, "row": row, "column": column}
            | interval(
                (0.1 + row + column) * (1 + 9 * (target == "last")) * (1 + (layer == 6)) * (1 + (quantity == "weight")),
                0.05,
            )
            for task, target, quantity, layer, row, column in itertools.product(
                TASKS, LOOKS_PROBE.targets, ("weight", "share"), range(11), range(2), range(3)
            )
        ]
    )


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
def test_maps_of_attention(looks, figure, layers, most, title):
    chart = charts.draw(looks, figure, LOOKS_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == [f"{task}, layer {layer}" for task in TASKS for layer in layers]
    assert specified(chart)["title"]["subtitle"] == [f"m; n = 7 questions a task; {figure.target or 'question'} looks"]
    rows = data_of(chart)
    assert len(rows) == len(TASKS) * len(layers) * 6
    assert rows["mean"].max() == pytest.approx(most)
    assert legend_title(chart) == title
    assert scale_of(chart)["domain"] == pytest.approx([0, most / 3, 2 * most / 3, most])
    assert scale_of(chart)["range"][0] == "#ffffff"


def test_what_is_said_of_maps_of_attention(looks):
    words = sentence(MAP, LOOKS_PROBE, looks, "m")
    assert words == (
        "m: question looks most at the picture in layer 6 (19 % of all, other), and most at a single patch in layer 6 "
        "(6.2 %, row 2, column 3, other)."
    )
    cells = cells_of(findings(MapChart(chart="map", probe="p", target="last", quantity="weight"), LOOKS_PROBE, looks))
    assert cells["first", "last: attention weights, percent"] == {
        "value": "124.00",
        "interval": "[123.95, 124.05]",
        "where": "layer 6, row 2, column 3",
    }
    assert len(cells) == len(TASKS)


@pytest.mark.parametrize(
    "figure", [MapChart(chart="map", probe="p", layers=[40]), MapChart(chart="map", probe="p", target="options")]
)
def test_a_map_of_what_was_not_measured(looks, figure):
    probe = AttentionMapProbe(kind="attention-map", targets=["question", "options"])
    assert "Of what the figure shows, nothing could be measured." in str(
        specified(charts.draw(looks, figure, probe, "m", TASKS, 3))
    )
    assert sentence(figure, probe, looks, "m") == "m: of what the figure shows, nothing could be measured."
    assert not any(cells_of(findings(figure, probe, looks)).values())


def growths(values):
    """A map of 2 × 2 cells for each task; the task first has half of it."""
    return PLACES_SUMMARY.frame(
        [
            {"task": task, "row": place // 2, "column": place % 2} | interval(value / (1 + (task == "first")), 0.1)
            for task in TASKS
            for place, value in enumerate(values)
        ]
    )


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
def test_maps_of_places(values, domain, white):
    """White is no growth; below it there are colours only where there is something to see."""
    chart = charts.draw(growths(values), MAP, PLACES_PROBE, "m", TASKS, columns=3)
    assert panels_of(chart) == TASKS
    assert legend_title(chart) == "Growth of the loss, nats a token"
    assert scale_of(chart)["domain"] == pytest.approx(domain)
    assert scale_of(chart)["range"][white] == "#ffffff"
    assert scale_of(chart)["domain"][white] == 0
    first = data_of(chart).filter(pl.col("panel") == "other").sort("row", "column")
    assert first["mean"].to_list() == values


def test_what_is_said_of_places():
    summary = growths([-0.8, 0.3, 0.1, 0.2])
    assert sentence(MAP, PLACES_PROBE, summary, "m") == (
        "m: the loss grows in other: most without row 1, column 2, +0.30 [+0.20, +0.40] nats; 2 of 4 cells with an "
        "interval above 0. first: most without row 1, column 2, +0.15 [+0.05, +0.25] nats; 1 of 4 cells with an "
        "interval above 0."
    )
    cells = cells_of(findings(MAP, PLACES_PROBE, summary))
    assert cells["other", "growth of the loss, nats a token"] == {
        "value": "0.30",
        "interval": "[0.20, 0.40]",
        "where": "row 1, column 2",
    }


# --- examples ---

EXAMPLES = ExamplesChart(chart="examples", probe="p")


def painted(color, kind="PNG", side=240):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, kind)
    return buffer.getvalue()


def view(number, rows=2, columns=3, question="What?", picture=None):
    about = {"question_id": number, "question": question, "answer": f"a{number}", "rows": rows, "columns": columns}
    return about | {"picture": picture or painted("red")}


def lens_rows(number, words, layers=range(-1, 4)):
    """Words for the right instruction after the picture; before it and for the others there are none, or others."""
    rest = dict.fromkeys(("object", "elsewhere", "shuffled", "agreement")) | {"entropy": 1.0, "words": 1.0}
    about = {"question_id": number, "image_id": number} | rest
    return [
        about | {"instruction": instruction, "place": place, "layer": layer, "decoded": decoded}
        for layer in layers
        for instruction, place, decoded in (
            ("right", "after", words),
            ("wrong", "after", None),
            ("right", "before", ["before"] * len(words)),
        )
    ]


def looks_rows(number, layers=range(5)):
    about = {"question_id": number, "image_id": number, "rows": 2, "columns": 3}
    return [
        about
        | {"target": target, "layer": layer}
        | {
            "weight": [0.0, 0.5, 1.0, 1.5, 2.0, 2.0],
            "share": [float(layer)] * 5 + [float(layer) / 2],
        }
        for target in ("question", "last")
        for layer in layers
        if target == "question" or layer != 4
    ]


def lines_of(chart):
    """The lines of pictures: (title, [(title of the picture, rows of what lies on it, address of the picture)])."""
    spec = specified(chart)
    found = []
    for line in spec["vconcat"]:
        pictures = []
        for panel in line["concat"]:
            picture, *on = panel["layer"]
            data = [
                spec["datasets"][layer["data"]["name"]] if "name" in layer["data"] else layer["data"]["values"]
                for layer in on
            ]
            pictures.append((panel["title"]["text"], data[-1], picture["mark"]["url"]))
        found.append((" ".join(line["title"]["text"]), pictures))
    return found


def examples_of(figure, probe, table, rows, views, columns=3, summary=None):
    more = charts.More(
        rows={task: table.frame(each) for task, each in rows.items()},
        views={task: VIEWS.frame(each) for task, each in views.items()},
    )
    return charts.draw(
        pl.DataFrame(schema={"model": pl.String, "mean": pl.Float64}) if summary is None else summary,
        figure,
        probe,
        "m",
        TASKS,
        columns,
        more=more,
    )


def test_examples_of_attention():
    blue = painted("blue", "JPEG")
    views = {"other": [view("1"), view("2", picture=blue)], "first": [view("3", question="Which?")]}
    rows = {"other": looks_rows("1") + looks_rows("2"), "first": looks_rows("3")}
    chart = examples_of(EXAMPLES, LOOKS_PROBE, ATTENTION_MAP, rows, views)
    lines = lines_of(chart)
    assert [title for title, _ in lines] == ["other: What? (a1)", "other: What? (a2)", "first: Which? (a3)"]
    assert [title for title, _, _ in lines[0][1]] == [
        "what the model sees",
        "layer 0",
        "layer 1",
        "layer 3",
        "layer 4",
    ]
    assert "question looks" in specified(chart)["title"]["subtitle"][0]
    seen, *pictures = [[cell["share"] for cell in cells] for _, cells, _ in lines[0][1]]
    assert seen == [1.0] * 6
    assert pictures == [[layer / 4] * 5 + [layer / 8] for layer in (0, 1, 3, 4)], "one scale for all layers"
    assert [(cell["row"], cell["column"]) for cell in lines[0][1][1][1]] == list(itertools.product(range(2), range(3)))
    png, jpeg = "data:image/png;base64,", "data:image/jpeg;base64,"
    assert {base64.b64decode(url.removeprefix(png)) for _, _, url in lines[0][1]} == {painted("red")}
    assert {base64.b64decode(url.removeprefix(jpeg)) for _, _, url in lines[1][1]} == {blue}
    figure = ExamplesChart(chart="examples", probe="p", target="last", quantity="weight", layers=[2, 4])
    lines = lines_of(examples_of(figure, LOOKS_PROBE, ATTENTION_MAP, rows, views))
    assert [title for title, _, _ in lines[0][1]] == ["what the model sees", "layer 2"], "in layer 4 nothing is known"
    assert [cell["share"] for cell in lines[0][1][1][1]] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_examples_of_places():
    about = {"image_id": "1", "grid": 2, "loss": 1.0}
    rows = [
        about | {"question_id": "1", "growth": [-0.5, 0.5, 1.0, 2.0]},
        about | {"question_id": "2", "growth": [-0.5, -0.5, 0.0, 0.0]},
    ]
    chart = examples_of(EXAMPLES, PLACES_PROBE, PLACES, {"other": rows}, {"other": [view("1"), view("2")]})
    (_, first), (_, second) = lines_of(chart)
    assert [title for title, _, _ in first] == ["what the model sees", "without each cell"]
    assert [cell["share"] for cell in first[1][1]] == [0.0, 0.25, 0.5, 1.0], "less loss is as dark as no change"
    assert [(cell["row"], cell["column"]) for cell in first[1][1]] == list(itertools.product(range(2), range(2)))
    assert [cell["share"] for cell in second[1][1]] == [0.0] * 4
    assert "brightest where the loss grows most without the cell" in specified(chart)["title"]["subtitle"][0]


def test_examples_of_words():
    words = ["sky", "grasshopper", "", "tree", "giraffe", "a&b"]
    chart = examples_of(EXAMPLES, LENS_PROBE, VISUAL_LENS, {"other": lens_rows("1", words)}, {"other": [view("1")]})
    ((_, pictures),) = lines_of(chart)
    assert [title for title, _, _ in pictures] == ["embedding", "layer 0", "layer 2", "layer 3"]
    for _, cells, _ in pictures:
        assert [cell["word"] for cell in cells] == words, "of the right instruction, where it stands first"
        assert [cell["short"] for cell in cells] == ["sky", "grassh…", "", "tree", "giraffe", "a&b"]
        assert [(cell["row"], cell["column"]) for cell in cells] == list(itertools.product(range(2), range(3)))
    before = LENS_PROBE.model_copy(update={"places": ["before"]})
    chart = examples_of(EXAMPLES, before, VISUAL_LENS, {"other": lens_rows("1", words)}, {"other": [view("1")]})
    assert {cell["word"] for cell in lines_of(chart)[0][1][0][1]} == {"before"}
    assert sentence(EXAMPLES, LENS_PROBE, VISUAL_LENS_SUMMARY.frame([]), "m") == ""
    assert findings(EXAMPLES, LENS_PROBE, VISUAL_LENS_SUMMARY.frame([]))["lines"] == []


def test_words_that_cannot_be_drawn(tmp_path):
    """Bytes that XML does not have would stop the writer, and half of an emoji leave the drawing unfinished."""
    words = ["\x00", "\x0b\x1f", "\ufffe", "abcde😀xyz", "\x7f", "▁é"]
    views = {"other": [view("1", question="A \x00 and a \x0b?")]}
    chart = examples_of(EXAMPLES, LENS_PROBE, VISUAL_LENS, {"other": lens_rows("1", words)}, views)
    for ending in (".svg", ".png", ".html"):
        charts.save(chart, tmp_path / f"chart{ending}")
    text = "".join(ET.parse(tmp_path / "chart.svg").getroot().itertext())
    assert "A � and a �?" in text
    assert "abcde😀…" in text
    assert "▁é" in text
    assert Image.open(tmp_path / "chart.png").size[0] > 500


# --- all of them ---


@pytest.fixture(scope="module")
def everything(similarity, phases, attention, lens, budget, knees, looks):
    """Name → (summary, figure, probe, what else it is drawn from); texts from data hold what could end a script."""
    titled = {"title": "A title of some length, as people write them"}
    words = ["sky", EVIL, "<b>", "&amp;", "a", '"'] * 24
    return {
        "pairs": (similarity, BY_PAIR, SIMILARITY_PROBE, charts.More()),
        "prompts": (
            similarity.with_columns(pl.col("prompt").replace("all", EVIL)),
            BY_PROMPT,
            SIMILARITY_PROBE,
            charts.More(),
        ),
        "phases": (similarity, WITH_PHASES.model_copy(update=titled), SIMILARITY_PROBE, charts.More(phases)),
        "attention": (attention, ATTENTION, ATTENTION_PROBE, charts.More()),
        "lens": (lens, lens_figure("names"), LENS_PROBE, charts.More()),
        "budget": (budget, BY_KEEP, BUDGET_PROBE, charts.More(knees)),
        "looks": (looks, MAP, LOOKS_PROBE, charts.More()),
        "places": (growths([-0.5, 0.1, 0.2, 0.5]), MAP, PLACES_PROBE, charts.More()),
        "attention examples": (
            looks,
            EXAMPLES,
            LOOKS_PROBE,
            charts.More(
                rows={"other": ATTENTION_MAP.frame(looks_rows("1"))},
                views={"other": VIEWS.frame([view("1", question=f"{EVIL} and more, {'on and on ' * 20}")])},
            ),
        ),
        "word examples": (
            lens,
            EXAMPLES,
            LENS_PROBE,
            charts.More(
                rows={"other": VISUAL_LENS.frame(lens_rows("1", words, layers=[0, 1]))},
                views={"other": VIEWS.frame([view("1", 6, 24, question=EVIL)])},
            ),
        ),
    }


NAMES = [
    "pairs",
    "prompts",
    "phases",
    "attention",
    "lens",
    "budget",
    "looks",
    "places",
    "attention examples",
    "word examples",
]
FROM_DATA = {"prompts", "attention examples", "word examples"}


@pytest.mark.parametrize("name", NAMES)
def test_files(everything, tmp_path, name):
    summary, figure, probe, more = everything[name]
    for file, columns in (("a.html", 3), ("a.svg", 3), ("a.png", 3), ("a-narrow.svg", 1)):
        path = tmp_path / file
        written = []
        for _ in range(2):
            chart = charts.draw(summary, figure, probe, "m", TASKS, columns, file == "a.html", more)
            charts.save(chart, path)
            written.append(path.read_bytes())
        assert written[0] == written[1], "the same bytes from the same tables"
    root = ET.parse(tmp_path / "a.svg").getroot()
    narrow = ET.parse(tmp_path / "a-narrow.svg").getroot()
    for drawing in (root, narrow):
        assert drawing.tag.endswith("svg")
        assert len(list(drawing.iter())) > 50, "there is something on it"
    assert float(narrow.get("width")) <= float(root.get("width"))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width <= WIDEST
        assert picture.width == pytest.approx(2 * float(root.get("width")), abs=2)
        assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 10
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
    note = f"the picture was {EVIL} not to be found \x0b"
    alone = pl.DataFrame([row | {"model": "m", "task": "other", "note": note}], schema=summary.schema)
    chart = charts.draw(alone, figure, probe, "m", TASKS, columns=3)
    charts.save(chart, tmp_path / "a.svg")
    drawn = "".join(ET.parse(tmp_path / "a.svg").getroot().itertext())
    assert f"The picture was {EVIL} not to be found" in drawn
    if not isinstance(figure, ExamplesChart):
        assert sentence(figure, probe, alone, "m") == f"m: {note}"
        cells = [cell for row in findings(figure, probe, alone)["rows"] for cell in row["cells"]]
        assert cells == [{"note": note}]
    empty = charts.draw(alone.clear(), figure, probe, "m", TASKS, columns=3)
    assert "No question was left to analyse." in str(specified(empty))


@pytest.mark.parametrize(
    ("figure", "probe", "said", "not_said"),
    [
        (BY_PAIR, SIMILARITY_PROBE, ["Mean cosine similarity", "Less that of tokens of unrelated"], ["bands: phases"]),
        (
            SimilarityChart(chart="similarity", probe="p", quantity="raw"),
            SIMILARITY_PROBE,
            ["As it is, without a correction"],
            ["Less that"],
        ),
        (WITH_PHASES, SIMILARITY_PROBE, ["Grey and white bands: phases", "the 95 % interval of where one begins"], []),
        (ATTENTION, ATTENTION_PROBE, ["attention weights (mean over heads), and norms", "Kobayashi et al. 2020"], []),
        (lens_figure("names"), LENS_PROBE, ["one of the 7 most probable words"], ["In a causal decoder"]),
        (lens_figure("entropy"), LENS_PROBE, ["Entropy of the words", "In a causal decoder"], []),
        (
            lens_figure("agreement"),
            LENS_PROBE.model_copy(update={"places": ["before"]}),
            ["the same as with the right instruction"],
            ["In a causal decoder"],
        ),
        (
            lens_figure("words"),
            LENS_PROBE.model_copy(update={"instructions": ["right"]}),
            ["no piece from within a word"],
            ["In a causal decoder"],
        ),
        (lens_figure("difference"), LENS_PROBE, ["How many more patches of an object", "In a causal decoder"], []),
        (BY_KEEP, BUDGET_PROBE, ["Rings: the knee of the curve", "the mean over 5 draws"], []),
        (BY_KEEP, BUDGET_PROBE.model_copy(update={"keep": ["first"]}), ["Rings: the knee"], ["draws"]),
        (MAP, LOOKS_PROBE, ["What the instruction looks at", "One colour scale for all layers"], []),
        (MAP, PLACES_PROBE, ["those of one cell of a 2 × 2 grid over the picture"], ["{}"]),
        (EXAMPLES, LOOKS_PROBE, ["veiled where the target looks less"], ["loss"]),
        (EXAMPLES, PLACES_PROBE, ["veiled where the loss of the reference answer grows less"], ["target"]),
        (EXAMPLES, LENS_PROBE, ["the most probable word of each patch's state"], ["veiled"]),
    ],
)
def test_captions(figure, probe, said, not_said):
    text = charts.caption(figure, probe)
    assert "{" not in text
    for words in said:
        assert words in text
    for words in not_said:
        assert words not in text


def test_prompts_that_are_called_like_other_lines_look_different():
    """Strokes are looked up by name, and several names of other figures have the same."""
    for lines in (["right", "attention", "accuracy"], ["first", "mlp", "time", "wrong"], ["all", "none", "other"]):
        strokes = strokes_of(lines)
        assert len(set(strokes)) == len(lines)
        assert strokes[0] == strokes_of(lines[:1])[0]


# --- tables of what is found on curves ---


def test_phases_as_a_table(phases):
    rows = landmark_rows("similarity", phases)
    assert len(rows) == len(phases)
    assert rows.row(0, named=True) == {
        "Model": "m",
        "Task": "other",
        "Prompt": "question",
        "Phases supported": "4 (in 91 % of the resamples)",
        "Phase": "1 of 4",
        "Name": "alignment",
        "After layers": "-1 to 1",
        "Begins, 95 % interval": "–",
        "Image and text, change a layer": "−0.010",
        "Within image": "0.002",
        "Within text": "0.000",
        "Questions": 7,
        "Pictures": 5,
    }
    assert rows["Begins, 95 % interval"][1] == "[1, 3]"
    assert rows["Phase"].to_list()[-6:] == ["1 of 2", "2 of 2", "1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert landmark_rows("similarity", phases.clear()).columns == rows.columns


def test_knees_as_a_table(knees):
    rows = landmark_rows("budget", knees)
    there, absent, _ = rows.to_dicts()
    assert there == {
        "Model": "m",
        "Task": "other",
        "Prompt": "question",
        "Kept": "first",
        "Knee, tokens": "8",
        "95 % interval": "[4, 16]",
        "Resamples with a knee, %": "88",
        "Enough for 95 % of the fall, tokens": "32 [16, 64]",
        "Loss without the picture, nats": "4.00",
        "Loss at the knee": "2.80",
        "Loss with all of it": "1.90",
        "Questions": 7,
        "Pictures": 5,
    }
    dashes = {"Knee, tokens": "–", "95 % interval": "–", "Loss at the knee": "–", "Resamples with a knee, %": "12"}
    assert absent == there | dashes | {"Kept": "spread"}


@pytest.mark.parametrize("kind", ["similarity", "budget"])
def test_landmarks_as_a_page(phases, knees, kind):
    found = (phases if kind == "similarity" else knees).with_columns(model=pl.lit(EVIL), prompt=pl.lit("a & b"))
    rows = landmark_rows(kind, found)
    page = landmarks_page(rows, f"Title {EVIL}")
    assert EVIL not in page
    assert page.count("&lt;/script&gt;&lt;b&gt;") == len(rows) + 2, "in each row, in the title and the heading"
    assert "a &amp; b" in page
    assert page.count("<tr>") == len(rows) + 1
    assert page.count("<td>") == len(rows) * len(rows.columns)
    dashes = sum(rows.select(pl.col(pl.String) == "–").sum().row(0))
    assert page.count("<td>–</td>") == dashes > 0
    assert all(f"<th>{column}</th>" in page for column in rows.columns)
    assert "None" not in page
    assert "null" not in page
