"""Strokes, names and fonts, so that a line has the same look and the same name in every figure."""

import hashlib
from dataclasses import dataclass

from vlmflow.edges import AND, Edge, EdgeGroup


@dataclass(frozen=True)
class Stroke:
    """Colour, dashes and point shape of a line; dashes and shapes distinguish lines without colour."""

    color: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = "circle"


# One stroke per line, the same in every figure of every study.
STROKES = {
    "question -> last": Stroke("#0063a6"),
    "image -> last": Stroke("#d1570c", (6, 3), "square"),
    "last -> last": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "image -> question": Stroke("#00805c"),
    "related patches -> question": Stroke("#b0307f"),
    "other patches -> question": Stroke("#dd9c00", (6, 3), "square"),
    "other patches, as many as related -> question": Stroke("#6f8f00", (2, 2), "triangle-up"),
    "related patches without sinks -> question": Stroke("#b0307f"),
    "other patches without sinks -> question": Stroke("#dd9c00", (6, 3), "square"),
    "sinks -> question": Stroke("#1b1b1b", (2, 2), "triangle-up"),
    "caption -> last": Stroke("#d1570c", (6, 3), "square"),
    "caption -> question": Stroke("#00805c", (8, 2, 2, 2), "diamond"),
    "capitalised answer": Stroke("#0063a6"),
    "lowercase answer": Stroke("#d1570c", (6, 3), "square"),
    "capitalised false option": Stroke("#1b1b1b", (8, 2, 2, 2), "diamond"),
    "false option": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "attention": Stroke("#0063a6"),
    "mlp": Stroke("#d1570c", (6, 3), "square"),
    "accuracy": Stroke("#0063a6"),
    "work": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "time": Stroke("#d1570c", (6, 3), "square"),
    "image and text": Stroke("#00805c"),
    "within image": Stroke("#d1570c", (6, 3), "square"),
    "within text": Stroke("#0063a6", (2, 2), "triangle-up"),
    "image -> image": Stroke("#d1570c", (2, 2), "triangle-up"),
    "question -> question": Stroke("#0063a6", (8, 2, 2, 2), "diamond"),
    "image -> template": Stroke("#00805c", (6, 3), "square"),
    "question -> template": Stroke("#7d5a28", (4, 2), "cross"),
    "template -> last": Stroke("#1b1b1b", (10, 3), "triangle-down"),
    "related patches": Stroke("#b0307f"),
    "other patches": Stroke("#dd9c00", (6, 3), "square"),
    "search": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "confirm": Stroke("#0063a6"),
    "image": Stroke("#d1570c", (6, 3), "square"),
    "question": Stroke("#0063a6"),
    "template": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "last": Stroke("#1b1b1b", (8, 2, 2, 2), "diamond"),
    "object": Stroke("#b0307f"),
    "elsewhere": Stroke("#dd9c00", (6, 3), "square"),
    "shuffled": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "correct": Stroke("#0063a6"),
    "wrong": Stroke("#d1570c", (6, 3), "square"),
    "none": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "first": Stroke("#d1570c", (6, 3), "square"),
    "spread": Stroke("#0063a6"),
    "random": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "related": Stroke("#b0307f"),
    "other": Stroke("#dd9c00", (6, 3), "square"),
    "all": Stroke("#1b1b1b", (2, 2), "triangle-up"),
}
# Edges from these segments of the question to the last position, and edges that end in them.
SEGMENT_STROKES = {
    "true option": Stroke("#2a9bc4"),
    "false option": Stroke("#7d5a28", (6, 3), "square"),
    "options": Stroke("#5b3a9e", (8, 2, 2, 2), "diamond"),
    "objects": Stroke("#6f8f00", (2, 2), "triangle-up"),
    "question without options": Stroke("#1b1b1b", (10, 3), "triangle-down"),
    "question without objects": Stroke("#c0407a", (4, 2), "cross"),
}
SPARE_STROKES = [
    Stroke("#5b3a9e", (8, 2, 2, 2), "diamond"),
    Stroke("#2a9bc4", (4, 2), "cross"),
    Stroke("#7d5a28", (2, 4), "triangle-down"),
    Stroke("#1b1b1b", (10, 3), "square"),
    Stroke("#8fae00", (3, 1), "circle"),
]
# Lines of models, in the order of the study.
MODEL_STROKES = [
    Stroke("#12355b"),
    Stroke("#c1440e", (6, 3), "square"),
    Stroke("#3a7d44", (2, 2), "triangle-up"),
    Stroke("#8e4585", (8, 2, 2, 2), "diamond"),
    Stroke("#c28f00", (4, 2), "cross"),
    Stroke("#1b98a8", (10, 3), "triangle-down"),
    Stroke("#6b6b6b", (2, 4), "circle"),
    Stroke("#e06c9f", (3, 1), "square"),
]
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
ARROW_FONT = f"DejaVu Sans, {FONT}"  # the sans-serif font that commonly has "↛"
# Names of lines whose value in the table is not a name to read.
LINE_NAMES = {
    "object": "object's name, on its patches",
    "elsewhere": "object's name, on other patches",
    "shuffled": "another name, on its patches",
    "correct": "correct instruction",
    "wrong": "wrong instruction",
    "none": "no instruction",
    "first": "the first tokens",
    "spread": "evenly spread tokens",
    "random": "random tokens",
    "weight": "attention weights",
    "share": "norms",
    "search": "images of the search",
    "confirm": "other images",
    "after": "instruction after",
    "before": "instruction before",
    "mlp": "MLP",
    "related": "related patches",
    "other": "other patches",
    "all": "all patches",
    "accuracy": "correct answers",
    "work": "token-layers of the prompt, % of the intact model",
    "time": "time to answer, % of the intact model",
}


def name_of(line: str) -> str:
    """The name of a line in figures and tables; an edge is written with a crossed arrow."""
    return EdgeGroup.parse(line).crossed if " -> " in line else LINE_NAMES.get(line, line)


def strokes_of(lines: list[str]) -> list[Stroke]:
    """The stroke of each line; a line without its own stroke gets a spare one by its name, the same in every figure."""
    strokes: list[Stroke] = []
    for line in lines:
        index = hashlib.sha256(line.encode()).digest()[0]
        spare = [SPARE_STROKES[(index + step) % len(SPARE_STROKES)] for step in range(len(SPARE_STROKES))]
        free = [stroke for stroke in spare if stroke not in strokes]
        own = STROKES.get(line) or _segment_stroke(line)
        strokes.append(own if own is not None and own not in strokes else (free or spare)[0])
    return strokes


def model_strokes(count: int) -> list[Stroke]:
    """The strokes of so many models; from the ninth on, they are repeated."""
    return [MODEL_STROKES[index % len(MODEL_STROKES)] for index in range(count)]


def _segment_stroke(line: str) -> Stroke | None:
    if " -> " not in line or AND in line:
        return None
    edge = Edge.parse(line)
    return SEGMENT_STROKES.get(edge.target) or (SEGMENT_STROKES.get(edge.source) if edge.target == "last" else None)
