"""Segments, edges and windows: the names of token positions, and of the attention that is knocked out."""

import re
from dataclasses import dataclass
from typing import Literal

# Every segment with its rank in the order of the prompt: segments of a higher rank come later; those of one rank may
# lie between each other.
SEGMENTS = {
    "image": 0,
    "related patches": 0,
    "other patches": 0,
    "other patches, as many as related": 0,
    "sinks": 0,
    "related patches without sinks": 0,
    "other patches without sinks": 0,
    "image separators": 0,
    "caption": 0,
    "after image": 1,
    "question": 2,
    "true option": 2,
    "false option": 2,
    "options": 2,
    "objects": 2,
    "question without options": 2,
    "question without objects": 2,
    "template": 3,
    "last": 4,
}

# The segments that only the prompt of an image has.
IMAGE_SEGMENTS = tuple(name for name, rank in SEGMENTS.items() if rank < SEGMENTS["question"] and name != "caption")

# Sinks are patches whose features have a norm above a threshold; the other two segments leave them out.
SINK_SEGMENTS = ("sinks", "related patches without sinks", "other patches without sinks")

# Random other patches: a control for the number of patches.
AS_MANY_AS_RELATED = "other patches, as many as related"

# The edges of [flow], figures 3 to 5.
FLOW_EDGES = (
    "question -> last",
    "image -> last",
    "last -> last",
    "image -> question",
    "related patches -> question",
    "other patches -> question",
)


def in_brackets(name: str) -> str:
    """The name of a study's own segment as edges have it."""
    return f"[{name}]"


def is_own(segment: str) -> bool:
    """Whether a segment is one that the study defines itself, written in brackets."""
    return segment.startswith("[") and segment.endswith("]")


def own_name(segment: str) -> str:
    """The name of such a segment in the study's `segments`."""
    return segment[1:-1]


def check_segment(segment: str) -> str:
    """The name of a segment.

    Raises:
        ValueError: there is no such segment.
    """
    if segment not in SEGMENTS and not is_own(segment):
        raise ValueError(
            f"unknown segment {segment!r}; choose from {', '.join(SEGMENTS)}, or write one of the study's own "
            "`segments` in brackets"
        )
    return segment


@dataclass(frozen=True)
class Edge:
    """An edge `source -> target`: while it is knocked out, no position of the target may attend to one of the
    source."""

    source: str
    target: str

    @classmethod
    def parse(cls, text: str) -> "Edge":
        """The edge that a text such as `image -> question` names.

        Raises:
            ValueError: the text does not have this form, names an unknown segment, or runs from later to earlier
                positions.
        """
        match = re.fullmatch(r"\s*(.+?)\s*->\s*(.+?)\s*", text)
        if not match:
            raise ValueError(f"edge {text!r}: write 'source -> target', for instance 'image -> question'")
        edge = cls(*match.groups())
        for segment in (edge.source, edge.target):
            try:
                check_segment(segment)
            except ValueError as error:
                raise ValueError(f"edge {text!r}: {error}") from error
        if any(map(is_own, (edge.source, edge.target))):
            return edge  # only a prompt tells where it is
        if SEGMENTS[edge.source] > SEGMENTS[edge.target]:
            raise ValueError(
                f"edge {text!r}: {edge.source!r} comes after {edge.target!r} in the prompt, and a position attends "
                f"only to itself and to earlier ones; did you mean '{edge.target} -> {edge.source}'?"
            )
        return edge

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def crossed(self) -> str:
        """The edge as figures write it, `source ↛ target`."""
        return f"{self.source} ↛ {self.target}"


# Between edges that are knocked out together.
AND = " + "


@dataclass(frozen=True)
class EdgeGroup:
    """Edges that are knocked out together, `source -> target + source -> target`; a single edge is a group of one."""

    edges: tuple[Edge, ...]

    @classmethod
    def parse(cls, text: str) -> "EdgeGroup":
        """The edges that a text names.

        Raises:
            ValueError: one of them is not valid, see `Edge.parse`, or is there twice.
        """
        edges = tuple(Edge.parse(part) for part in text.split(AND.strip()))
        if len(set(edges)) < len(edges):
            raise ValueError(f"{text!r}: an edge is there twice; give it once")
        return cls(edges)

    def __str__(self) -> str:
        return AND.join(map(str, self.edges))

    @property
    def crossed(self) -> str:
        """The edges as figures write them."""
        return AND.join(edge.crossed for edge in self.edges)


def _all_edges() -> tuple[str, ...]:
    """The edges from every segment of an image's prompt to every later one; between the image and the tokens that
    separate its parts; within the question, from its other words to its options and objects; and from the last position
    to itself."""
    segments = [name for name in SEGMENTS if name not in (*SINK_SEGMENTS, AS_MANY_AS_RELATED, "caption")]
    later = [f"{a} -> {b}" for b in segments for a in segments if SEGMENTS[a] < SEGMENTS[b]]
    within = [
        "image -> image separators",
        "image separators -> image",
        *(f"question without options -> {option}" for option in ("options", "true option", "false option")),
        "question without objects -> objects",
    ]
    return (*later, *within, "last -> last")


# The edges that `edges: all` in a study file means.
ALL_EDGES = _all_edges()


# The layers in which an edge is knocked out, for each layer: a window around it, all from it on, all up to it, or all
# but the window.
Cut = Literal["around", "from", "until", "all but"]


def cut_layers(cut: Cut, layer: int, window: int, layers: int) -> list[range]:
    """The spans of layers in which an edge is knocked out at `layer`; none if nothing is left of them.

    Args:
        cut: see `Cut`.
        layer: from 0.
        window: number of layers, odd; without a meaning for `from` and `until`.
        layers: number of the model's layers.
    """
    if cut == "from":
        return [range(layer, layers)]
    if cut == "until":
        return [range(layer + 1)]
    inside = window_layers(layer, window, layers)
    if cut == "around":
        return [inside]
    return [span for span in (range(inside.start), range(inside.stop, layers)) if len(span)]


def window_layers(layer: int, window: int, layers: int) -> range:
    """The layers of a window of `window` (odd) layers around `layer`, cut at both ends of a model of `layers`
    layers."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window {window}: must be odd and at least 1")
    if not 0 <= layer < layers:
        raise ValueError(f"layer {layer}: the model has the layers 0 to {layers - 1}")
    return range(max(0, layer - window // 2), min(layers, layer + window // 2 + 1))


def module_layers(layer: int, window: int, layers: int) -> range:
    """The `window` layers from `layer` on, cut at the model's end; [flow] appendix D."""
    if window < 1:
        raise ValueError(f"window {window}: must be at least 1")
    if not 0 <= layer < layers:
        raise ValueError(f"layer {layer}: the model has the layers 0 to {layers - 1}")
    return range(layer, min(layers, layer + window))
