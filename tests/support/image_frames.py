"""Small summaries of probes of image and words, and what their examples are drawn from."""

import io
import itertools

import pytest
from PIL import Image

from support.frames import interval
from vlmflow.figures import (
    AttentionChart,
    BudgetChart,
    ExamplesChart,
    MapChart,
    OutputLensChart,
    SimilarityChart,
    VisualLensChart,
)
from vlmflow.probes import (
    AttentionMapProbe,
    AttentionProbe,
    BudgetProbe,
    OcclusionProbe,
    OutputLensProbe,
    SimilarityProbe,
    VisualLensProbe,
)
from vlmflow.probes.budget import KNEES
from vlmflow.probes.similarity import PAIRS, PHASE_NAMES, PHASES

# Words that lines of other figures are called by, and that figures write out there.
TASKS = ["other", "first"]
PROMPTS = ["question", "all"]
LAYERS = range(-1, 9)
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
def similarity_summary():
    return SimilarityProbe.summary_table().frame(
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
            "phase_count": supported,
            "agreement": agreement,
            "phases": len(starts),
            "phase": number,
            "name": PHASE_NAMES[number - 1] if len(starts) == 4 else "",
            "first_layer": start,
            "last_layer": end,
            "between": -0.01 * number,
            "within_image": 0.002,
            "within_text": 0.0,
            "low": None if number == 1 else start - 1,
            "high": None if number == 1 else start + 1,
            "questions": 7,
            "images": 5,
        }
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


@pytest.fixture(scope="module")
def phase_table():
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


SEGMENTS = ["image", "question", "last"]
OUTPUT_PROBE = OutputLensProbe(kind="output-lens", prompts={"question": "{question}", "all": "x"})


def output_figure(quantity):
    return OutputLensChart(chart="output-lens", probe="p", quantity=quantity, title="Next tokens")


@pytest.fixture(scope="module")
def output_summary():
    """After layer 5 the last position, after layer 7 the question, and after the last layer (8) the image agrees."""
    starts = dict(zip(SEGMENTS, (8, 7, 5), strict=True))

    def height(task, prompt, segment, quantity, layer):
        if quantity == "agreement":
            return 100.0 if layer == 8 else 80.0 if layer >= starts[segment] else 20.0
        return 10.0 - layer + (task == "first") + 0.5 * (prompt == "all") - 0.1 * (segment == "last")

    return OutputLensProbe.summary_table().frame(
        [
            {"task": task, "prompt": prompt, "segment": segment, "quantity": quantity, "layer": layer}
            | interval(height(task, prompt, segment, quantity, layer), 0.25)
            for task, prompt, segment, quantity, layer in itertools.product(
                TASKS, PROMPTS, SEGMENTS[::-1], ("entropy", "agreement"), LAYERS
            )
        ]
    )


EDGES = ["image -> question", "question -> last", "image -> image", "template -> last"]
ATTENTION_PROBE = AttentionProbe(kind="attention", edges=EDGES)
ATTENTION = AttentionChart(chart="attention", probe="p")


@pytest.fixture(scope="module")
def attention_summary():
    """At layer 2 of the task other the question looks at the image most, by weights; by norms at layer 1 of first."""

    def looks(task, edge, quantity, layer):
        if edge != EDGES[0]:
            return 5.0 + layer
        return {("other", "weight", 2): 40.0, ("first", "share", 1): 23.0}.get((task, quantity, layer), 10.0)

    return AttentionProbe.summary_table().frame(
        [
            {"task": task, "edge": edge, "quantity": quantity, "layer": layer}
            | interval(looks(task, edge, quantity, layer))
            for task, edge, quantity, layer in itertools.product(TASKS, EDGES, ("weight", "norm", "share"), range(4))
        ]
    )


LENS_PROBE = VisualLensProbe(kind="visual-lens", top=7)


def lens_figure(quantity):
    return VisualLensChart(chart="visual-lens", probe="p", quantity=quantity)


@pytest.fixture(scope="module")
def visual_lens_summary():
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
    return VisualLensProbe.summary_table().frame(
        [
            {
                "task": task,
                "instruction": instruction,
                "instruction_position": place,
                "quantity": quantity,
                "layer": layer,
            }
            | interval((height + (task == "other")) * (1 + layer / 10) + (place == "before"), 0.5)
            for task, instruction, place, (quantity, height), layer in itertools.product(
                TASKS, ("correct", "wrong", "none"), ("after", "before"), heights.items(), range(-1, 3)
            )
            if quantity != "difference" or instruction != "correct"
        ]
    )


BUDGET_PROBE = BudgetProbe(kind="budget", prompts={"question": "{question}", "all": "x"}, draws=5)
BY_KEEP = BudgetChart(chart="budget", probe="p")
KEPT = [0, 1, 2, 4, 8, 16, 32, 64]
WAYS = {"first": "the first tokens", "spread": "evenly spread tokens", "random": "random tokens"}


@pytest.fixture(scope="module")
def budget_summary():
    """The loss falls by 0.3 with each doubling; 100 tokens are a number that only some of the images have."""
    rows = [
        {"task": task, "prompt": prompt, "keep": keep, "tokens_requested": number, "tokens_kept": float(number)}
        | interval(4.0 - 0.3 * place - 0.5 * (keep == "spread"), 0.2)
        for task, prompt, keep, (place, number) in itertools.product(TASKS, PROMPTS, WAYS, enumerate(KEPT))
    ]
    some = {"task": "other", "prompt": "all", "keep": "first", "tokens_requested": 100, "tokens_kept": 100.0}
    return BudgetProbe.summary_table().frame([*rows, some | interval(0.1) | {"questions": 3}])


@pytest.fixture(scope="module")
def knee_table():
    def row(task, prompt, keep, **found):
        about = {
            "model": "m",
            "task": task,
            "prompt": prompt,
            "keep": keep,
            "knee_found_percent": 88.0,
            "questions": 7,
            "images": 5,
        }
        loss = {
            "loss_without_image": 4.0,
            "loss_all_tokens": 1.9,
            "tokens_for_95_percent": 32.0,
            "tokens_for_95_percent_low": 16.0,
            "tokens_for_95_percent_high": 64.0,
        }
        return about | loss | found

    return KNEES.frame(
        [
            row("other", "question", "first", knee=8.0, low=4.0, high=16.0, loss_at_knee=2.8),
            row(
                "other",
                "question",
                "spread",
                knee=None,
                low=None,
                high=None,
                loss_at_knee=None,
                knee_found_percent=12.0,
            ),
            row("first", "all", "random", knee=2.0, low=1.0, high=4.0, loss_at_knee=3.4),
        ]
    )


ATTENTION_MAP_PROBE = AttentionMapProbe(kind="attention-map", targets=["question", "last"])
OCCLUSION_PROBE = OcclusionProbe(kind="occlusion", grid=2)
MAP = MapChart(chart="map", probe="p")


@pytest.fixture(scope="module")
def attention_map_summary():
    """The last position looks ten times as much as the question; of it all most at the lower right, in layer 6."""
    return AttentionMapProbe.summary_table().frame(
        [
            {"task": task, "target": target, "quantity": quantity, "layer": layer, "row": row, "column": column}
            | interval(
                (0.1 + row + column) * (1 + 9 * (target == "last")) * (1 + (layer == 6)) * (1 + (quantity == "weight")),
                0.05,
            )
            for task, target, quantity, layer, row, column in itertools.product(
                TASKS, ATTENTION_MAP_PROBE.targets, ("weight", "share"), range(11), range(2), range(3)
            )
        ]
    )


def growths(values):
    """A map of 2 × 2 cells for each task; the task first has half of it."""
    return OcclusionProbe.summary_table().frame(
        [
            {"task": task, "row": place // 2, "column": place % 2} | interval(value / (1 + (task == "first")), 0.1)
            for task in TASKS
            for place, value in enumerate(values)
        ]
    )


EXAMPLES = ExamplesChart(chart="examples", probe="p")


def painted(color, kind="PNG", side=240):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, kind)
    return buffer.getvalue()


def view(number, rows=2, columns=3, question="What?", image=None, task="other"):
    about = {"task": task, "question_id": number, "question": question, "answer": f"a{number}"}
    return about | {"rows": rows, "columns": columns} | {"image": image or painted("red")}


def lens_rows(number, words, layers=range(-1, 4)):
    """Words for the correct instruction after the image; before it and for the others there are none, or others."""
    rest = dict.fromkeys(("object", "elsewhere", "shuffled", "agreement")) | {"entropy": 1.0, "words": 1.0}
    about = {"task": "other", "question_id": number, "image_id": number} | rest
    return [
        about | {"instruction": instruction, "instruction_position": place, "layer": layer, "decoded": decoded}
        for layer in layers
        for instruction, place, decoded in (
            ("correct", "after", words),
            ("wrong", "after", None),
            ("correct", "before", ["before"] * len(words)),
        )
    ]


def attention_map_rows(number, layers=range(5), task="other"):
    about = {"task": task, "question_id": number, "image_id": number, "rows": 2, "columns": 3}
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
