"""What a figure of lines shows of its probe's summary: which rows, what tells lines and panels apart, and the axes."""

from dataclasses import dataclass

import polars as pl

from vlmflow.probes import AttentionMapProbe, KnockoutProbe, Probe, WordsProbe
from vlmflow.study import AttentionChart, BudgetChart, Figure, MapChart, SimilarityChart, VisualLensChart

from .marks.maps import target_of
from .style import name_of

MIDDLE = "Layer (middle of the window)"
CHANGE = "Change in p(answer), %"
STATE = "Layer (−1: the embedding)"
# What a chart of the visual lens shows → (quantities, title of the y axis).
LENS_QUANTITIES = {
    "names": (("object", "elsewhere", "shuffled"), "Patches that say it, %"),
    "entropy": (("entropy",), "Entropy, bits"),
    "words": (("words",), "Tokens that are words, %"),
    "agreement": (("agreement",), "Same word as with the right one, %"),
    "difference": (("difference",), "Patches that say it, percentage points"),
}


@dataclass(frozen=True)
class Axes:
    """How a figure of lines is laid out.

    Attributes:
        line: column of the summary that tells lines apart.
        x: column on the x axis.
        x_title, y_title: of the axes, with units.
        panels: columns that tell panels apart.
        doubling: whether equal steps on the x axis are doublings.
        zero: whether a rule marks 0.
    """

    line: str
    x: str
    x_title: str
    y_title: str
    panels: tuple[str, ...] = ("task",)
    doubling: bool = False
    zero: bool = True


def axes_of(figure: Figure, probe: Probe) -> Axes:
    """The layout of a figure of lines."""
    match figure:
        case SimilarityChart():
            line, panel = ("pair", "prompt") if figure.by == "pair" else ("prompt", "pair")
            return Axes(line, "layer", STATE, "Mean cosine similarity", ("task", panel))
        case AttentionChart():
            return Axes("edge", "layer", "Layer", "Percent of all positions", ("task", "quantity"))
        case VisualLensChart():
            line = "quantity" if figure.quantity == "names" else "instruction"
            return Axes(line, "layer", STATE, LENS_QUANTITIES[figure.quantity][1], ("task", "place"))
        case BudgetChart():
            line, panel = ("keep", "prompt") if figure.by == "keep" else ("prompt", "keep")
            return Axes(line, "kept", "Picture tokens kept", "Loss, nats a token", ("task", panel), True, False)
    match figure.chart:
        case "windows":
            return Axes("edge", "layer", MIDDLE, CHANGE, ("task", "window"))
        case "lens":
            return Axes("word", "layer", "Layer", "Probability")
        case "words":
            return Axes("intervention", "layer", _place_of(probe), "Jaccard similarity")
        case "pruning":
            return Axes("quantity", "last", "Last layers without image tokens", "Percent")
    return Axes("edge", "layer", MIDDLE, CHANGE)


def panel_name(column: str, value: object) -> str:
    """What sets a panel apart, as its heading says it; tasks and prompts by the user's own names."""
    if column == "window":
        return f"k = {value}"
    return str(value) if column in ("task", "prompt") else name_of(str(value))


def line_names(figure: Figure, axes: Axes, lines: list[str]) -> dict[str, str]:
    """Lines as legends call them: edges crossed where they are knocked out, prompts by the user's own names."""
    if isinstance(figure, AttentionChart):
        return {line: line.replace(" -> ", " → ") for line in lines}
    return {line: line if axes.line == "prompt" else name_of(line) for line in lines}


def _place_of(probe: Probe) -> str:
    """Where in the window a layer of the words probe stands."""
    if not isinstance(probe, WordsProbe):
        return "Layer"
    place = "edges: middle, modules: first" if probe.edges and probe.modules else "middle" if probe.edges else "first"
    return f"Layer ({place} of the window)"


def chosen_rows(summary: pl.DataFrame, figure: Figure, probe: Probe, model: str) -> pl.DataFrame:
    """What a figure shows of a summary: one model's rows with a mean, of the figure's edges, window, quantity, and of
    maps who looks, and the layers that the figure names."""
    rows = summary.filter((pl.col("model") == model) & pl.col("mean").is_not_null())
    if edges := getattr(figure, "edges", None):
        rows = rows.filter(pl.col("edge").is_in(edges))
    if isinstance(probe, KnockoutProbe) and figure.chart in ("flow", "atlas"):
        rows = rows.filter(pl.col("window") == window_of(figure, probe))
    match figure:
        case SimilarityChart():
            return rows.filter(pl.col("quantity") == figure.quantity)
        case AttentionChart():
            return rows.filter(pl.col("quantity").is_in(("weight", "share")))
        case MapChart() if isinstance(probe, AttentionMapProbe):
            mine = (pl.col("quantity") == figure.quantity) & (pl.col("target") == target_of(figure, probe))
            return rows.filter(mine, pl.col("layer").is_in(figure.layers) if figure.layers else True)
        case VisualLensChart():
            rows = rows.filter(pl.col("quantity").is_in(LENS_QUANTITIES[figure.quantity][0]))
            # Whose name is said where is asked of the right instruction; agreement with itself says nothing.
            wanted = {"names": ("right",), "agreement": ("wrong", "none"), "difference": ("wrong", "none")}
            shown = wanted.get(figure.quantity)
            return rows.filter(pl.col("instruction").is_in(shown)) if shown else rows
        case BudgetChart():
            # A number of tokens that only some of the pictures have is no point of a curve over all of them.
            most = pl.col("questions").max().over("task", "prompt", "keep")
            return rows.filter(pl.col("questions") == most).sort("kept", maintain_order=True)
    return rows


def window_of(figure: Figure, probe: KnockoutProbe) -> int:
    """The window that a figure shows: its own, or the probe's only one."""
    return getattr(figure, "window", None) or probe.window[0]
