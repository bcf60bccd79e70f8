"""Texts and checks that the charts of the knockout probe share."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from vlmflow.edges import Cut
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.knockout import CUT_BY_WINDOW
from vlmflow.settings import WindowShare

from .measures import ANSWERS, Shown
from .style import name_of

ANALYSED = {"wrong": "those that the model answers wrongly", "any": "all that were asked"}


def measure_caption(shown: Shown, probe: KnockoutProbe) -> str:
    """The first sentence of a caption: the measure, and the intervention."""
    measured = shown.caption.format(answer=ANSWERS[probe.follow])
    return f"{measured} when the edge is knocked out {CUTS[probe.cut].where}."


@dataclass(frozen=True)
class CutText:
    """How a cut is described: in a caption, on the x axis, and at one layer."""

    where: str
    x_title: str
    at: str


CUTS: dict[Cut, CutText] = {
    "around": CutText(
        "in a window of layers around each layer", "Layer (middle of the window)", "around layer {layer} ({layers})"
    ),
    "from": CutText("in all layers from each layer on", "First layer of the cut", "from layer {layer} on"),
    "until": CutText("in all layers up to each layer", "Last layer of the cut", "up to layer {layer}"),
    "all but": CutText(
        "in all layers but a window around each layer",
        "Layer (middle of the window that is left)",
        "in all layers but those around layer {layer} ({layers})",
    ),
}


def window_text(window: int | WindowShare) -> str:
    """The size of a window, as text."""
    if isinstance(window, WindowShare):
        return f"{100 * window.share:g} % of the layers (the nearest odd number)"
    return f"{window} layer{'s' if window > 1 else ''}"


def window_shown(window: int | None, probe: KnockoutProbe, rows: pl.DataFrame) -> int:
    """The number of layers of the window that a figure of one model shows.

    Args:
        window: the figure's.
        probe: the probe that it draws.
        rows: of the model; a probe with a share of the depth has one window for each model.
    """
    (first, *_) = probe.windows
    if isinstance(first, int):
        return window or first
    return int(rows["window"][0]) if len(rows) else 0


def window_caption(window: int | None, probe: KnockoutProbe) -> str:
    """The sentence that names the window of a figure; empty if there is none."""
    if probe.cut not in CUT_BY_WINDOW:
        return ""
    return f"Window: {window_text(window or probe.window[0])}."


def settings_caption(probe: KnockoutProbe) -> list[str]:
    """Sentences on the settings of the probe that differ from the default."""
    sentences = []
    if probe.token == "last":
        sentences.append("The probability is that of the answer's last sub-word, given the earlier sub-words.")
    if probe.token == "all":
        sentences.append("The probability is the joint one of all of the answer's sub-words.")
    if probe.sub_words == "several":
        sentences.append("Only answers of several sub-words.")
    if probe.sub_words_blocked == "every":
        sentences.append("An edge to the last position is blocked to every position that predicts a sub-word.")
    if probe.answers != "correct":
        sentences.append(f"Questions: {ANALYSED[probe.answers]}.")
    if probe.sinks is not None:
        rule = (
            f"above {probe.sinks.above:g}"
            if probe.sinks.above is not None
            else f"above the {100 * (probe.sinks.quantile or 0):g}th percentile of the task's patches"
        )
        sentences.append(f"Sinks are the patches whose feature has a norm {rule}.")
    return sentences


def sub_words_note(panel: pl.DataFrame, probe: KnockoutProbe) -> str:
    """The number of answers of a panel with several sub-words; empty if only the first one is measured."""
    return f", {max(panel['multi_token_answers'])} with several sub-words" if probe.token != "first" else ""


def effect_at(row: dict[str, Any], shown: Shown, probe: KnockoutProbe) -> str:
    """The effect of one row, with its interval, layer and window."""
    layers = f"{row['window']} layer{'s' if row['window'] > 1 else ''}"
    return f"{shown.mean(row)} {CUTS[probe.cut].at.format(layer=row['layer'], layers=layers)}"


def describe_edges(edges: list[str], rows: pl.DataFrame, shown: Shown, probe: KnockoutProbe) -> str:
    """The largest effect of the knockout of each edge, and the tasks in which all of it is negligible.

    Args:
        edges: in the order in which they are described.
        rows: the rows of the summary that a figure of one model shows.
        shown: the measure.
        probe: as the study file has it.
    """
    parts, strongest = [], shown.strongest.format(answer=ANSWERS[probe.follow])
    for edge in edges:
        of_edge = shown.worst_first(rows.filter(pl.col("edge") == edge))
        peaks = of_edge.group_by("task", maintain_order=True).first()
        if len(peaks) == 0:
            parts.append(f"{name_of(edge)} could not be measured on any question.")
            continue
        negligible = shown.negligible_rows(peaks)
        name, worst = name_of(edge), peaks.row(0, named=True)
        most = f"{shown.negligible:g}{shown.unit}"
        if len(negligible) == len(peaks):
            parts.append(f"{name} {strongest} by at most {most} in every task and layer.")
            continue
        text = f"{name} {strongest} most in {worst['task']}: {effect_at(worst, shown, probe)}"
        if len(negligible):
            text += f"; by at most {most} in every layer in {', '.join(sorted(negligible['task']))}"
        parts.append(text + ".")
    return " ".join(parts)


def check_window(window: int | None, probe: KnockoutProbe, figure: str, probe_name: str) -> None:
    """Check that the probe measures the window that a figure shows.

    Raises:
        ValueError: it does not measure it, or it measures several and the figure names none.
    """
    if probe.cut not in CUT_BY_WINDOW and window is not None:
        raise ValueError(f"figures.{figure}.window: the probe {probe_name!r} has no windows (cut: {probe.cut})")
    measured = ", ".join(map(str, probe.window))
    if window is None and len(probe.window) > 1:
        raise ValueError(
            f"figures.{figure}.window: this key is missing; the probe has the windows {measured}: give one of them"
        )
    if window is not None and window not in probe.window:
        raise ValueError(
            f"figures.{figure}.window: the probe {probe_name!r} measures the windows {measured}, not {window}"
        )
