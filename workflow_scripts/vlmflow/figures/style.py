"""How lines are told apart and what all figures look like."""

import hashlib
import re
from dataclasses import dataclass

import altair as alt

from vlmflow.edges import Edge


@dataclass(frozen=True)
class Stroke:
    """How a line is told from the others: by colour, and without colour by dashes and the shape of its points."""

    color: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = "circle"


# One stroke per edge and word, the same in every figure of every study.
STROKES = {
    "question -> last": Stroke("#0063a6"),
    "image -> last": Stroke("#d1570c", (6, 3), "square"),
    "last -> last": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "image -> question": Stroke("#00805c"),
    "related patches -> question": Stroke("#b0307f"),
    "other patches -> question": Stroke("#dd9c00", (6, 3), "square"),
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
    "object": Stroke("#b0307f"),
    "elsewhere": Stroke("#dd9c00", (6, 3), "square"),
    "shuffled": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "right": Stroke("#0063a6"),
    "wrong": Stroke("#d1570c", (6, 3), "square"),
    "none": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "first": Stroke("#d1570c", (6, 3), "square"),
    "spread": Stroke("#0063a6"),
    "random": Stroke("#7a7a7a", (2, 2), "triangle-up"),
    "related": Stroke("#b0307f"),
    "other": Stroke("#dd9c00", (6, 3), "square"),
    "all": Stroke("#1b1b1b", (2, 2), "triangle-up"),
}
# Parts of the question: their edges to the last position, and those that reach them.
PARTS = {
    "true option": Stroke("#2a9bc4"),
    "false option": Stroke("#7d5a28", (6, 3), "square"),
    "options": Stroke("#5b3a9e", (8, 2, 2, 2), "diamond"),
    "objects": Stroke("#6f8f00", (2, 2), "triangle-up"),
    "question without options": Stroke("#1b1b1b", (10, 3), "triangle-down"),
    "question without objects": Stroke("#c0407a", (4, 2), "cross"),
}
SPARE = [
    Stroke("#5b3a9e", (8, 2, 2, 2), "diamond"),
    Stroke("#2a9bc4", (4, 2), "cross"),
    Stroke("#7d5a28", (2, 4), "triangle-down"),
    Stroke("#1b1b1b", (10, 3), "square"),
    Stroke("#8fae00", (3, 1), "circle"),
]
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
# Characters that XML does not have at all, however they are escaped: the writer of SVG and PNG stops at them.
NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ARROW_FONT = f"DejaVu Sans, {FONT}"  # the sans-serif font that commonly has "↛"
NAMES = {
    "object": "their object, on its patches",
    "elsewhere": "the object, on other patches",
    "shuffled": "another object, on its patches",
    "right": "right instruction",
    "wrong": "wrong instruction",
    "none": "no instruction",
    "first": "the first ones",
    "spread": "spread evenly",
    "random": "random ones",
    "weight": "attention weights",
    "share": "norms",
    "after": "instruction after",
    "before": "instruction before",
    "mlp": "MLP",
    "related": "related patches",
    "other": "other patches",
    "all": "all patches",
    "accuracy": "right answers",
    "work": "token-layers of the prompt, of the intact model's",
    "time": "time to answer, of the intact model's",
}


def name_of(line: str) -> str:
    """A line as figures and tables call it; edges with a crossed arrow."""
    return Edge.parse(line).crossed if " -> " in line else NAMES.get(line, line)


def strokes_of(lines: list[str]) -> list[Stroke]:
    """The stroke of each line; one that has none of its own gets a spare one by its name, the same in every figure."""
    strokes: list[Stroke] = []
    for line in lines:
        place = hashlib.sha256(line.encode()).digest()[0]
        spare = [SPARE[(place + step) % len(SPARE)] for step in range(len(SPARE))]
        free = [stroke for stroke in spare if stroke not in strokes]
        own = STROKES.get(line) or _of_part(line)
        strokes.append(own if own is not None and own not in strokes else (free or spare)[0])
    return strokes


def _of_part(line: str) -> Stroke | None:
    if " -> " not in line:
        return None
    edge = Edge.parse(line)
    return PARTS.get(edge.target) or (PARTS.get(edge.source) if edge.target == "last" else None)


def drawable(text: str) -> str:
    """The text with what no drawing may hold, such as a byte that a token decodes to, as a replacement character."""
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def title_of(title: str, subtitle: list[str]) -> alt.TitleParams:
    """A figure's title with what stands under it."""
    return alt.TitleParams(title or " ", subtitle=subtitle, anchor="start", fontSize=14, subtitleFontSize=12)


def dressed(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """What all figures have in common."""
    return (
        chart.configure(font=FONT)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_legend(labelFontSize=12, labelFont=ARROW_FONT)
        .configure_view(stroke="#cccccc")
    )
